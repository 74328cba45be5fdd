"""`heapwright simulate`: run a user program, or replay a trace, in the simulated process."""

from __future__ import annotations

import json
import os
import sys
from bdb import BdbQuit
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.options import refuse_idle
from heapwright.cli.terminal import console, progress
from heapwright.machine.kernel import FRAMES
from heapwright.machine.xv6rs import DEFECTS, SEMANTICS
from heapwright.programs import PROGRAMS
from heapwright.wording import counted

if TYPE_CHECKING:
    from heapwright.collections import Runtime
    from heapwright.programs.run import ProgramResult
    from heapwright.programs.user import Main
    from heapwright.programs.watch import Observer, OperationStep, Watch

TOLD = 20  # leaks that are listed
WARNED = 5  # lines that will not compile and are listed
WIDTH = 100  # columns, if the terminal does not give a width

EXPLAINED = {
    "Programs": PROGRAMS,
    "Kernels (--semantics)": {name: kernel.what for name, kernel in SEMANTICS.items()},
    "Defects (--defect)": DEFECTS,
}


class Explained(click.Command):
    """A command whose help text ends with tables of programs, kernels and defects."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, rows in EXPLAINED.items():
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))


@click.command(cls=Explained, context_settings={"allow_interspersed_args": True})
@click.option("-a", "--allocator", default="kr", show_default=True, help="A name, a file, a folder, or a stack.")
@click.option(
    "--step",
    is_flag=True,
    help="Step through the calls, and inside a call from word to word, forward and back. Without a terminal: draw each "
    "request, the words it read and changed, and the heap afterwards.",
)
@click.option("-c", "--script", metavar="SCRIPT", help="Run requests such as 'a = alloc 24; free a' as the program.")
@click.option("-n", "--events", type=click.IntRange(1), help="Replay only the first N events of a trace.", metavar="N")
@click.option(
    "--frames",
    default=FRAMES,
    show_default=True,
    type=click.IntRange(1),
    help="Physical memory, in page frames.",
    metavar="N",
)
@click.option(
    "--page",
    default="4096",
    show_default=True,
    type=click.Choice(["4096", "16384", "65536"]),
    help="Page size, in bytes.",
)
@click.option(
    "--semantics",
    default="exact",
    show_default=True,
    type=click.Choice(list(SEMANTICS)),
    help="The kernel to simulate, from the list below.",
)
@click.option(
    "--defect",
    "defects",
    multiple=True,
    metavar="ID",
    type=click.Choice(list(DEFECTS)),
    help="Add one kernel defect from the list below; may be repeated.",
)
@click.option(
    "--sbrk-fails",
    type=click.IntRange(1),
    metavar="K",
    help="Let the kernel refuse the K-th request for memory and all later ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.argument("program", required=False)
@click.argument("arguments", nargs=-1)
def command(
    *,
    program: str | None,
    script: str | None,
    arguments: tuple[str, ...],
    allocator: str,
    step: bool,
    events: int | None,
    sbrk_fails: int | None,
    as_json: bool,
    page: str,
    **kernel: Any,
) -> None:
    """Run PROGRAM in a simulated process where every load and store of its allocator is checked.

    \b
    heapwright simulate boxtest -a kr --step

    PROGRAM is one of the programs below, a Python file with `main(args)`, or a trace to replay. If the allocator or the
    program breaks a rule, the machine stops and explains what happened. Each leak is listed with the line that
    allocated it. `breakpoint()` in an allocator or a program opens the debugger there.

    In the stepper, the arrow keys move: left and right from word to word, up and down from call to call. The line at
    the bottom shows the other keys.

    The exit status is the program's own, or 1 if there was a violation or a leak.

    The kernels xv6 and xv6rs reproduce the documented defects of xv6, MIT's teaching operating system, and of xv6rs,
    its translation to Rust.

    \b
    heapwright simulate -c 'a = alloc 24; b = alloc 100 64; free a' -a tlsf --step
    heapwright simulate mine.hwt -a mine.py --events 10000
    heapwright simulate vectest --semantics xv6rs --sbrk-fails 1
    """
    if step and as_json:
        raise click.UsageError("--step and --json cannot be combined: choose one")
    check_defects(kernel["semantics"], kernel["defects"])
    main = what_to_run(program, script, arguments, events)
    name = program or "script"
    serve_breakpoints()
    warn(allocator)
    options = {"sbrk_fails": sbrk_fails or 0, "page": int(page), **kernel}
    try:
        if step and is_interactive():
            outcome = step_through(main, allocator, (name, *arguments), options)
        else:
            outcome = run(main, allocator, (name, *arguments), step, as_json, options)
    except MemoryError as error:
        raise click.ClickException(str(error)) from error
    except BdbQuit:
        raise click.exceptions.Exit(1) from None  # the user left the debugger
    if as_json:
        click.echo(json.dumps({"program": name, "allocator": allocator, **as_dict(outcome)}, indent=2))
    else:
        report(outcome, f"[heapwright {allocator}] {name}")
    raise click.exceptions.Exit(outcome.exit_code or int(bool(outcome.fault or outcome.leaks)))


def run(
    main: Main, allocator: str, arguments: tuple[str, ...], step: bool, as_json: bool, options: dict[str, Any]
) -> ProgramResult:
    from heapwright.programs.run import run_program

    write = None if as_json else click.echo
    return run_program(main, allocator, arguments, watcher=watcher() if step else None, write=write, **options)


def warn(spec: str) -> None:
    """Warn of lines in the user's own files that the linter refuses: they run here but will not compile."""
    from heapwright.allocator import load
    from heapwright.dialect import refused

    found = [each for part in load(spec).parts for each in refused(Path(str(part.__file__)))]
    for violation in found[:WARNED]:
        click.echo(f"heapwright: will not compile: {violation}", err=True)
    if len(found) > WARNED:
        click.echo(f"heapwright: and {len(found) - WARNED} more: heapwright check {spec} --only lint", err=True)


def check_defects(semantics: str, defects: tuple[str, ...]) -> None:
    """Refuse a defect that the chosen kernel already has."""
    for defect in defects:
        if defect in SEMANTICS[semantics].defects:
            raise click.UsageError(f"--defect {defect} has no effect with --semantics {semantics}, which has it")


def what_to_run(program: str | None, script: str | None, arguments: tuple[str, ...], events: int | None) -> Main:
    """The `main` of a program or a script, or one that replays a trace: any file but Python is read as a trace."""
    from heapwright.programs.run import find_program

    if script is not None:
        return what_to_script(program, script)
    if program is None:
        raise click.UsageError("name a program or a trace, or give a script with -c")
    if program in PROGRAMS or program.endswith(".py") or not Path(program).exists():
        refuse_idle("for a program: it applies to traces", "events")
        return find_program(program)
    if arguments:
        raise click.UsageError(f"a trace takes no arguments, such as '{arguments[0]}'")
    from heapwright.programs.replay import replay
    from heapwright.traces.importers import open_trace
    from heapwright.traces.sampling import require_all

    def tell(done: int, of: int) -> None:
        progress(f"{done / of:.0%}" if done < of else "")

    return replay(require_all(open_trace(program), program).events[:events], tell)


def what_to_script(program: str | None, script: str) -> Main:
    from heapwright.programs.script import main_of

    refuse_idle("with -c: it applies to traces", "events")
    if program is not None:
        raise click.UsageError(f"-c is the program, so '{program}' cannot be one")
    return main_of(script)


def serve_breakpoints() -> None:
    """Let `breakpoint()` stop in the allocator and the program, unless the user has chosen another debugger."""

    def stop(*_: object, **__: object) -> None:
        from heapwright.debugger import stop_in

        stop_in(sys._getframe(1))

    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = stop


# --- steps


def is_interactive() -> bool:
    """Whether there is a terminal for the stepper, on both sides."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def step_through(main: Main, allocator: str, arguments: tuple[str, ...], options: dict[str, Any]) -> ProgramResult:
    """Record the program, and step through the recording until the user quits."""
    from heapwright.stepper.recorder import record
    from heapwright.stepper.screen.app import show
    from heapwright.stepper.view import View

    recording = record(main, allocator, arguments, tell=lambda events: progress(counted(events, "events")), **options)
    progress("")
    show(View(recording), arguments[0], allocator)
    if recording.outcome is None:
        ended = f"the recording stopped before the program, after {counted(len(recording.calls), 'calls')}"
        raise click.ClickException(f"{ended}: {recording.stopped}")
    return recording.outcome


def watcher() -> Watch:
    """An observer that prints each step of the allocator, and the heap after it."""
    from heapwright.pictures.picture import step_picture
    from heapwright.programs.watch import Watch

    out = console(WIDTH)

    def show(runtime: Runtime, observer: Observer, step: OperationStep) -> None:
        title = f"#{runtime.operations}{f' of process {runtime.heap.process.pid}' if runtime.parent else ''}"
        for line in ["", *step_picture(title, runtime, observer, step, out.width).lines(out.width)]:
            out.print(line, soft_wrap=True)

    return Watch(show)


# --- the outcome


def report(outcome: ProgramResult, title: str) -> None:
    """Print what went wrong and each leak, then one line of figures."""
    if outcome.fault:
        click.echo(str(outcome.fault), err=True)
    if outcome.panic:
        click.echo(f"kernel panic: {outcome.panic}", err=True)
    for leak in outcome.leaks[:TOLD]:
        click.echo(f"leaked: {leak}", err=True)
    if len(outcome.leaks) > TOLD:
        click.echo(f"leaked: and {len(outcome.leaks) - TOLD} more", err=True)
    click.echo(f"{title}: {', '.join(figures(outcome))}", err=True)


def figures(outcome: ProgramResult) -> list[str]:
    ending = "killed by a fault" if outcome.fault else f"exit code {outcome.exit_code}"
    count = len(outcome.leaks)
    leaks = counted(count, "leaks") if count else "no leaks"
    live = f"{counted(outcome.live_bytes, 'bytes')} live in {counted(outcome.live_blocks, 'blocks')}"
    return [
        ending,
        leaks if outcome.is_judged else "leaks not checked",
        live,
        f"peak {counted(outcome.peak_bytes, 'bytes')}",
        f"heap {counted(outcome.heap_bytes, 'bytes')}",
        counted(outcome.operations, "operations"),
    ]


def as_dict(outcome: ProgramResult) -> dict[str, Any]:
    """The outcome as plain values, for JSON."""
    return {
        **vars(outcome),
        "fault": str(outcome.fault) if outcome.fault else None,
        "leaks": [leak.as_dict() for leak in outcome.leaks],
    }
