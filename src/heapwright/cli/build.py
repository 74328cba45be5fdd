"""`heapwright build`: an allocator compiled, to keep or to read."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import click

from heapwright.files import written_whole

FORMS = ("library", "object", "llvm", "asm")
TEXTS = ("llvm", "asm")


@click.command()
@click.argument("allocator")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--emit", type=click.Choice(FORMS), default="library", show_default=True, help="What to write.")
@click.option("--function", metavar="NAME", help="Of the assembler text, this function only.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def command(allocator: str, output: Path | None, emit: str, function: str | None, as_json: bool) -> None:
    """Compile ALLOCATOR, a name, a path or a stack, to a library that serves any program.

    Without -o, LLVM and assembler texts are printed. --function takes a C function, such as malloc, or one of the
    allocator's that was not compiled into its callers.

    \b
    heapwright build kr -o kr.so && LD_PRELOAD=./kr.so ls
    heapwright build mine.py --emit llvm -o mine.ll
    heapwright build ptmalloc --emit asm --function malloc
    """
    if function and emit != "asm":
        raise click.UsageError("--function reads assembler text: add --emit asm")
    if output is None and (as_json or emit not in TEXTS):
        raise click.UsageError("say where to write it: -o FILE")
    from heapwright.native.library import stack_for

    stack = stack_for(allocator).spec
    with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
        made = make(stack, emit, Path(work, "made"))
        if function:
            made.write_text(excerpt(made.read_text(), function))
        if output is None:
            click.echo(made.read_text(), nl=False)
            return
        report(keep(made, output), stack, emit, as_json)


def make(stack: str, emit: str, place: Path) -> Path:
    from heapwright.native.library import compile_to, library_of

    if emit == "library":
        return library_of(stack)
    compile_to(place, ["heap", stack], emit)
    return place


def keep(made: Path, output: Path) -> Path:
    with made.open("rb") as source, written_whole(output) as target:
        shutil.copyfileobj(source, target)
    return output


def report(output: Path, stack: str, emit: str, as_json: bool) -> None:
    size = output.stat().st_size
    if as_json:
        click.echo(json.dumps({"file": str(output), "emit": emit, "stack": stack, "bytes": size}))
    else:
        click.echo(f"{output}: {emit} of {stack}, {size:,} bytes")


# --- one function


def excerpt(assembly: str, name: str) -> str:
    """A function's instructions, and how many they are."""
    from heapwright.native.assembly import functions, instructions, named

    found = named(assembly, name)
    if not found:
        others = sorted({each.rpartition(".")[2] for each in functions(assembly) if not each.startswith("_Z")})
        why = f"no function '{name}' stands by itself, it may have been compiled into its callers"
        raise click.ClickException(f"{why}: there are {', '.join(others)}")
    return "".join(f"{text}\n# {instructions(text)} instructions\n" for text in found)
