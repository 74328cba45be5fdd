"""`heapwright build`: compile an allocator to a file, or show what the compiler made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heapwright.cli.interfaces import check_crate, header_text, write, write_crate
from heapwright.files import check_output

if TYPE_CHECKING:
    from heapwright.allocator import Allocator

FORMS = ("library", "archive", "object", "llvm", "asm")
TEXTS = ("llvm", "asm")


@click.command()
@click.argument("allocator")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. Without it, llvm and asm are printed.",
)
@click.option(
    "--emit",
    type=click.Choice(FORMS),
    default="library",
    show_default=True,
    help="What to make: a shared library, an archive for static linking, an object file, LLVM IR or assembler text.",
)
@click.option("--function", metavar="NAME", help="Show only this function, with --emit asm.")
@click.option(
    "--header",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the C header of the library's functions to this file.",
)
@click.option(
    "--crate",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write a Rust crate, with the heap as its global allocator, to this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Describe the written files as JSON.")
def command(
    allocator: str,
    output: Path | None,
    emit: str,
    function: str | None,
    header: Path | None,
    crate: Path | None,
    as_json: bool,
) -> None:
    """Compile ALLOCATOR (a name, a file, a folder or a stack) to a library that can serve any program as malloc.

    \b
    heapwright build mine.py -o mine.so && LD_PRELOAD=./mine.so ls

    The library needs only the C library: neither Python nor heapwright. You can link a C program with it or with an
    archive, or make it the global allocator of a Rust program (docs/c-and-rust.md):

    \b
    heapwright build hoard -o libhoard.so --header heapwright.h && cc main.c -L. -lhoard -Wl,-rpath,.
    heapwright build hoard --emit archive -o libhoard.a && cc -static main.c libhoard.a
    heapwright build hoard --crate ../heap && cargo add --path ../heap

    To read the machine code, use --emit asm. --function takes a C function such as malloc, or a function of the
    allocator that was not inlined into its callers.

    \b
    heapwright build ptmalloc --emit asm --function malloc
    heapwright build mine.py --emit llvm -o mine.ll
    """
    check_use(output, emit, function, is_beside=bool(header or crate), as_json=as_json)
    for file in filter(None, (output, header)):
        check_output(file)
    if crate:
        check_crate(crate)
    from heapwright.native.library import stack_for

    stack = stack_for(allocator)
    if output is None and emit in TEXTS:
        click.echo(compiled(stack, emit, function), nl=False)
        return
    written: dict[str, object] = {"stack": stack.spec}
    if output:
        content = compiled(stack, emit, function)
        write(output, content)
        written |= {"file": str(output), "emit": emit, "bytes": len(content)}
    if header:
        write(header, header_text(stack))
        written["header"] = str(header)
    if crate:
        write_crate(crate, stack)
        written["crate"] = str(crate)
    report(written, as_json)


def check_use(output: Path | None, emit: str, function: str | None, is_beside: bool, as_json: bool) -> None:
    """Refuse options that do not go together. `is_beside` says whether a header or a crate is to be written."""
    if function and emit != "asm":
        raise click.UsageError("--function shows assembler text: add --emit asm")
    if output is None and emit in TEXTS and (is_beside or as_json):
        raise click.UsageError(f"say where to write the {emit} text: -o FILE")
    if output is None and emit not in TEXTS and not is_beside:
        raise click.UsageError("say where to write it: -o FILE")


def compiled(stack: Allocator, emit: str, function: str | None) -> bytes:
    from heapwright.native.library import made_of

    content = made_of(stack, emit).read_bytes()
    return excerpt(content.decode(), function).encode() if function else content


def report(written: dict[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(written))
        return
    if "file" in written:
        click.echo("{file}: {emit} of {stack}, {bytes:,} bytes".format(**written))
    if "header" in written:
        click.echo("{header}: C header".format(**written))
    if "crate" in written:
        click.echo("{crate}: Rust crate with {stack}".format(**written))


# --- one function


def excerpt(assembly: str, name: str) -> str:
    """The instructions of a function, and their number."""
    from heapwright.native.assembly import functions, instructions, named

    found = named(assembly, name)
    if not found:
        others = sorted({each.rpartition(".")[2] for each in functions(assembly) if not each.startswith("_Z")})
        why = f"there is no function '{name}'; it may have been inlined into its callers"
        raise click.ClickException(f"{why}. The functions are {', '.join(others)}")
    return "".join(f"{text}\n# {instructions(text)} instructions\n" for text in found)
