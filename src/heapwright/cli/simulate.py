"""`heapwright simulate`: a user program, or a trace, in the simulated process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import console, progress
from heapwright.machine.kernel import DEFECTS, FRAMES, SEMANTICS
from heapwright.programs import PROGRAMS

if TYPE_CHECKING:
    from heapwright.collections import Runtime
    from heapwright.programs.run import Outcome
    from heapwright.programs.user import Main
    from heapwright.programs.watch import Eye, Step, Watch

TOLD = 20  # leaks, one line each
WIDTH = 100  # columns, where nobody says how many there are

EPILOG = "\b\nPrograms:\n" + "\n".join(f"  {name:<12}{what}" for name, what in PROGRAMS.items())


@click.command(epilog=EPILOG, context_settings={"allow_interspersed_args": True})
@click.option("-a", "--allocator", default="linked_list", show_default=True, help="Name, path or stack.")
@click.option("--step", is_flag=True, help="Show each operation: the words it read and changed, and the heap.")
@click.option("-n", "--events", type=click.IntRange(1), help="Of a trace: replay only so many events.")
@click.option("--frames", default=FRAMES, show_default=True, type=click.IntRange(1), help="Frames of memory.")
@click.option(
    "--page", default="4096", show_default=True, type=click.Choice(["4096", "16384", "65536"]), help="Bytes in one."
)
@click.option("--semantics", default="exact", show_default=True, type=click.Choice(list(SEMANTICS)), help="The kernel.")
@click.option("--defect", "defects", multiple=True, type=click.Choice(list(DEFECTS)), help="One of xv6rs's to have.")
@click.option("--sbrk-fails", type=click.IntRange(1), metavar="K", help="Refuse request K and all after it.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.argument("program")
@click.argument("arguments", nargs=-1)
def command(
    *,
    program: str,
    arguments: tuple[str, ...],
    allocator: str,
    step: bool,
    events: int | None,
    sbrk_fails: int | None,
    as_json: bool,
    page: str,
    **kernel: Any,
) -> None:
    """Run PROGRAM in the simulated process, everything checked; or replay it there, if it is a trace.

    A program is one of those below, or a Python file with `main(args)`. The exit status is the program's, but never
    0 if it leaks; 1 if the machine finds a violation, which is then told in full.

    \b
    heapwright simulate boxtest -a kr --step
    heapwright simulate looptest 1000
    heapwright simulate vectest --semantics xv6rs --sbrk-fails 1
    heapwright simulate demo.hwt -a kr --events 10000
    """
    if step and as_json:
        raise click.UsageError("--step draws and --json does not: choose one")
    from heapwright.programs.run import run_program

    main = what_to_run(program, events)
    try:
        outcome = run_program(
            main,
            allocator,
            (program, *arguments),
            sbrk_fails=sbrk_fails or 0,
            watcher=watcher() if step else None,
            write=None if as_json else click.echo,
            page=int(page),
            **kernel,
        )
    except MemoryError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"program": program, "allocator": allocator, **as_dict(outcome)}, indent=2))
    else:
        report(outcome, f"[heapwright {allocator}] {program}")
    raise click.exceptions.Exit(outcome.exit_code or int(bool(outcome.fault or outcome.leaks)))


def what_to_run(program: str, events: int | None) -> Main:
    """A program's `main`; or one that replays a trace, as which any other file is taken."""
    from heapwright.programs.run import find_program

    if program in PROGRAMS or program.endswith(".py") or not Path(program).exists():
        return find_program(program)
    from heapwright.programs.replay import replay
    from heapwright.traces.importers import open_trace

    def tell(done: int, of: int) -> None:
        progress(f"{done / of:.0%}" if done < of else "")

    return replay(open_trace(program).events[:events], tell)


# --- steps


def watcher() -> Watch:
    """Print each step of the allocator, and the heap after it."""
    from heapwright.programs.watch import Watch

    out = console(WIDTH)

    def show(runtime: Runtime, eye: Eye, step: Step) -> None:
        for line in draw(runtime, eye, step, out.width):
            out.print(line, soft_wrap=True)

    return Watch(show)


def draw(runtime: Runtime, eye: Eye, step: Step, width: int) -> list[Any]:
    from heapwright.pictures.step import draw_step
    from heapwright.pictures.terminal import draw_heap
    from heapwright.programs.scene import Look

    title = f"#{runtime.operations}{f' of process {runtime.heap.process.pid}' if runtime.parent else ''}"
    return ["", *draw_step(title, step, eye, width), *draw_heap(Look(runtime, eye, step).scene(), width)]


# --- the outcome


def report(outcome: Outcome, title: str) -> None:
    """One line; before it, what went wrong, and each leak."""
    if outcome.fault:
        click.echo(str(outcome.fault), err=True)
    if outcome.panic:
        click.echo(f"kernel panic: {outcome.panic}", err=True)
    for leak in outcome.leaks[:TOLD]:
        click.echo(f"leaked: {leak}", err=True)
    if len(outcome.leaks) > TOLD:
        click.echo(f"leaked: and {len(outcome.leaks) - TOLD} more", err=True)
    click.echo(f"{title}: {', '.join(figures(outcome))}", err=True)


def figures(outcome: Outcome) -> list[str]:
    ending = "killed by a fault" if outcome.fault else f"exit code {outcome.exit_code}"
    count = len(outcome.leaks)
    leaks = f"{count} leak{'s' * (count != 1)}" if count else "no leaks"
    live = f"{outcome.live_bytes:,} bytes live in {outcome.live_blocks:,} blocks"
    return [
        ending,
        leaks if outcome.is_judged else "leaks not looked for",
        live,
        f"peak {outcome.peak_bytes:,}",
        f"heap {outcome.heap_bytes:,}",
        f"{outcome.operations:,} operations",
    ]


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The outcome in plain values."""
    return {
        **vars(outcome),
        "fault": str(outcome.fault) if outcome.fault else None,
        "leaks": [leak.as_dict() for leak in outcome.leaks],
    }
