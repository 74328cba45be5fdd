"""`heapwright advise`: which malloc to deploy for a program, and with which settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.options import Real, refuse_idle
from heapwright.cli.terminal import progress
from heapwright.files import check_output, written_whole

if TYPE_CHECKING:
    from heapwright.advise.figures import Row
    from heapwright.advise.question import Question
    from heapwright.advise.search import Plan

COMMAND = "heapwright.command"
OF_PROGRAMS, OF_TRACES = ("load", "settle", "timeout"), ("process", "judge", "today")


class AfterDashes(click.Command):
    """A command whose words after `--` are a program to run, and whose arguments before it are files."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[COMMAND], args = tuple(args[place + 1 :]), args[:place]
        return super().parse_args(ctx, args)


@click.command(cls=AfterDashes, epilog=EPILOG)
@click.argument("traces", nargs=-1, metavar="TRACE... | -- COMMAND...", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-a", "--allocator", "allocators", multiple=True, help=f"Try only this. {HELP} May be repeated.")
@click.option(
    "--goal",
    default="balance",
    show_default=True,
    type=click.Choice(["balance", "memory", "time"]),
    help="What a change should improve.",
)
@click.option(
    "--allow",
    default=10.0,
    show_default=True,
    type=Real(0, 1000),
    metavar="PERCENT",
    help="The loss that any figure may take for the goal.",
)
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1, 100), help="Rounds of the search.")
@click.option(
    "-n",
    "--repeats",
    default=5,
    show_default=True,
    type=click.IntRange(2, 1000),
    metavar="N",
    help="Judge each finalist by N fresh runs beside N of today's malloc.",
)
@click.option("--tune", metavar="N", type=click.IntRange(1, 100_000), help="Also let Optuna try N settings.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Random seed of --tune.")
@click.option("--load", metavar="SHELL", help="A shell command that uses the program; after it the program is ended.")
@click.option(
    "--settle", default=2.0, show_default=True, type=Real(0, 3600), metavar="SECONDS", help="Wait so long after --load."
)
@click.option(
    "--timeout", default=600.0, show_default=True, type=Real(1, 1e6), metavar="SECONDS", help="The limit of one run."
)
@click.option("--process", metavar="PID|N", help="The process of each TRACE. Default: the one with the highest peak.")
@click.option(
    "--judge",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TRACE",
    help="Judge on this recording, which the search does not see.",
)
@click.option("--today", default="system", show_default=True, help="The malloc that the traced program runs on.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Also write a page.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.pass_context
def command(
    context: click.Context, /, traces: tuple[Path, ...], html: Path | None, as_json: bool, **options: Any
) -> None:
    """Find the malloc and the settings that suit a program, and prove it.

    \b
    heapwright advise -- python3 app.py
    heapwright advise --goal memory --load 'sh client.sh' -- redis-server redis.conf
    heapwright advise server.hwt --judge monday.hwt

    After `--`, the program itself runs on each candidate: the C library's malloc with several settings, each installed
    peer with its own, and heapwright's wright, hoard and slab. A program that does not end by itself needs --load.
    Resident memory is sampled over time. `retained` is what is resident at the end of the last 0.3 s in which no thread
    ran.

    Each TRACE, a recording, is replayed on one thread instead. `time` is then the processor time of a first pass that
    writes every byte, `retained` the most resident bytes that hold no live block, and `p99` the time that 99 of 100
    calls of malloc do not exceed.

    The search measures every candidate, and the better half again. It ranks what it found by the goal. Then fresh runs
    of today's malloc and the first three take turns, and only these runs decide. A gain counts if it is larger than the
    noise and than 5 % of the time or 10 % of the memory and 4 MiB. The noise is the range of the middle half of the
    paired ratios. If nothing helps, that is the answer, with what holds the memory.

    --tune N also lets Optuna try N settings, including the constants of heapwright's allocators (heapwright[tune]).
    Ctrl-C ends the search, and what it found is judged.
    """
    from heapwright.advise.question import about_program, about_traces, answer
    from heapwright.advise.search import Plan

    command = context.meta.get(COMMAND, ())
    check_use(traces, command, bool(options["tune"]))
    if html:
        check_output(html)
    question = (
        about_program(command, options["load"] or "", options["settle"], options["timeout"])
        if command
        else about_traces(traces, options["process"], options["judge"], options["today"])
    )
    plan = Plan(options["rounds"], options["repeats"], options["goal"], options["allow"] / 100)
    more = tuner(question, plan, options) if options["tune"] else None
    report = answer(question, options["allocators"], plan, progress, more)
    progress("")
    show(report, html, as_json)
    if report["is_interrupted"]:
        raise click.exceptions.Exit(130)


def check_use(traces: Sequence[Path], command: Sequence[str], is_tuned: bool) -> None:
    """Refuse a use without a subject or with two, and options of the other one."""
    if bool(traces) == bool(command):
        raise click.UsageError("give recordings, or a program after `--`: heapwright advise -- python3 app.py")
    if command:
        refuse_idle("on a program, which is run as it is", *OF_TRACES)
    else:
        refuse_idle("on a recording, which is replayed", *OF_PROGRAMS)
    if not is_tuned:
        refuse_idle("without --tune", "seed")


def tuner(question: Question, plan: Plan, options: dict[str, Any]) -> Callable[[Row, list[Row]], None]:
    """The search by Optuna, as a step after the grid."""
    from heapwright.advise.tune import Tuner

    return Tuner(question, plan, options["tune"], options["seed"], options["allocators"], progress)


def show(report: dict[str, Any], html: Path | None, as_json: bool) -> None:
    """Print the answer, and write the page."""
    if html:
        from heapwright.advise.page import make_page

        with written_whole(html) as file:
            file.write(make_page(report).encode())
        click.echo(f"{html}: {html.stat().st_size:,} bytes", err=True)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    from heapwright.cli.advise_text import print_answer

    print_answer(report)
