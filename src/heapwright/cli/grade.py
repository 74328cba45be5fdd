"""`heapwright grade`: grade a student's allocator in a sandbox."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import click

from heapwright.cli.options import Real, refuse_idle
from heapwright.cli.terminal import progress


@click.command()
@click.argument("submission", type=click.Path(path_type=Path))
@click.option(
    "--traces",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE|FOLDER",
    help="Grade on these traces; may be repeated. Default: six workloads that are drawn for each run.",
)
@click.option(
    "--utilization",
    type=Real(0, 100),
    default=60.0,
    show_default=True,
    metavar="POINTS",
    help="Points for utilization. The rest of the 100 are for throughput.",
)
@click.option(
    "--against",
    default="system",
    show_default=True,
    metavar="ALLOCATOR",
    help="The malloc whose throughput is full marks: system, or one of heapwright's allocators.",
)
@click.option(
    "--alignment",
    type=click.Choice(["8", "16"]),
    help="The alignment that every block owes, in bytes. Default: 8 for mm.c, 16 for Python.",
)
@click.option("--forgive", multiple=True, metavar="CHECK", help="Let this check fail without cost; may be repeated.")
@click.option(
    "-n",
    "--repeats",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Times that each trace is timed. The best one counts.",
)
@click.option(
    "--seconds",
    type=Real(0.1),
    default=10.0,
    show_default=True,
    help="Time limit of one answer. All answers on a trace may take 30 times as long.",
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Repeat the grading with this seed. Default: a new one."
)
@click.option("--advice", is_flag=True, help="Also show what `heapwright check --quick` says. It does not count.")
@click.option("--json", "as_json", is_flag=True, help="Print the grade as JSON.")
def command(
    *,
    submission: Path,
    traces: tuple[Path, ...],
    utilization: float,
    against: str,
    alignment: str | None,
    forgive: tuple[str, ...],
    repeats: int,
    seconds: float,
    seed: int | None,
    advice: bool,
    as_json: bool,
) -> None:
    """Grade SUBMISSION, a student's allocator: conformance first, then memory and time, and a score by fixed rules.

    \b
    heapwright grade mm.c
    heapwright grade mine.py --traces traces/ --utilization 50

    SUBMISSION is an allocator in Python (FILE.py or FOLDER/), or the C file of a malloc lab with mm_init, mm_malloc,
    mm_free and mm_realloc over mem_sbrk. It is compiled and run only inside bubblewrap, without network, files or other
    processes. The grader is outside: it fills and checks the blocks, measures the heap, and reads the kernel's clock.

    \b
    score = U points x utilization + (100 - U) points x throughput, and 0 if a check fails
      U            60, or what --utilization says
      utilization  peak payload / peak heap, the mean over the traces
      throughput   requests in a second of processor time, divided by the reference's, at most 1

    Exit status: 0 all checks hold, 1 some do not and the score is 0, 2 wrong usage or no sandbox.
    """
    from heapwright.cli.grade_text import show
    from heapwright.grade import grading
    from heapwright.grade.rules import as_dict

    check_forgiven(forgive)
    if submission.suffix == ".c":
        refuse_idle("for a C file: `heapwright check` takes allocators in Python", "advice")
    chosen = secrets.randbits(32) if seed is None else seed
    rules = grading.Rules(
        weight=utilization,
        against=against,
        alignment=int(alignment) if alignment else None,
        forgiven=frozenset(forgive),
        repeats=repeats,
        seconds=seconds,
        seed=chosen,
        has_advice=advice,
    )
    requests = grading.read_traces(traces) if traces else grading.drawn_traces(chosen)
    grade = grading.grade(submission, rules, requests, progress)
    progress("")
    report = as_dict(grade)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        show(report)
    raise click.exceptions.Exit(0 if report["passed"] else 1)


def check_forgiven(names: tuple[str, ...]) -> None:
    """Refuse a check that does not exist."""
    from heapwright.errors import suggestion
    from heapwright.grade.stories import DUTIES

    known = [duty.name for duty in DUTIES]
    for name in names:
        if name not in known:
            hint = suggestion(name, known, f"there are {', '.join(known)}")
            raise click.UsageError(f"--forgive {name}: there is no such check; {hint}")
