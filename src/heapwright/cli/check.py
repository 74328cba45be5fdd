"""`heapwright check`: the conformance suite on one allocator."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import progress

if TYPE_CHECKING:
    from heapwright.conformance import Check, Outcome, Subject

NAME_COLUMN = 28
COLORS = {"holds": "green", "does not hold": "red", "skipped": "yellow"}


@click.command()
@click.argument("allocator")
@click.option("--quick", is_flag=True, help="Few and short stories, nothing compiled: some seconds.")
@click.option("--only", multiple=True, metavar="CHECK", help="Make this check, or those whose names begin so.")
@click.option("--list", "as_list", is_flag=True, help="List the checks that there are for it, and make none.")
@click.option("--mutation", is_flag=True, help="Judge the checks instead: plant bugs, and see which are caught.")
@click.option(
    "--exhaustive",
    type=click.IntRange(1, 20),
    metavar="DEPTH",
    help="All sequences of as many requests; twice as many without realloc.",
)
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="For the last two.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(
    allocator: str,
    quick: bool,
    only: tuple[str, ...],
    as_list: bool,
    mutation: bool,
    exhaustive: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Prove that ALLOCATOR, a name, a path or a stack, is a heap.

    Named checks, chosen by what the allocator has, play random stories in the simulated process, where each load
    and store is checked, and compare with compiled code. A check that does not hold shows the shortest story that
    was found, and the heap at its end. Exit status: 0 all hold, 1 something does not, 2 wrong use.

    \b
    heapwright check kr --quick
    heapwright check mine.py --only U7 --only fork
    heapwright check mine.py --exhaustive 5
    heapwright check mine.py --mutation --seconds 120
    """
    subject = subject_of(allocator, quick)
    if as_list:
        show_list(subject, chosen(only, not quick), as_json)
        return
    if mutation:
        sound = show_mutation(subject, seconds, as_json)
    elif exhaustive is not None:
        sound = show_exhaustive(subject, exhaustive, seconds, as_json)
    else:
        sound = show_checks(subject, chosen(only, not quick), as_json)
    raise click.exceptions.Exit(0 if sound else 1)


def subject_of(allocator: str, quick: bool) -> Subject:
    from hypothesis.configuration import set_hypothesis_home_dir

    from heapwright.conformance import Subject

    set_hypothesis_home_dir(Path(tempfile.gettempdir(), "heapwright-hypothesis"))  # else it is left in this folder
    return Subject(allocator, quick)


def chosen(only: Iterable[str], slow: bool) -> list[Check]:
    """The checks to make, the linter's first: a rule that is broken explains much of the rest."""
    from heapwright.conformance import checks_for

    try:
        return sorted(checks_for(only, slow), key=lambda check: check.name != "lint")
    except KeyError as error:
        raise click.UsageError(f"there is no check named {error}: see --list") from error


# --- the checks


def show_checks(subject: Subject, checks: list[Check], as_json: bool) -> bool:
    from heapwright.conformance import Verdict, run

    outcomes = []
    for number, outcome in enumerate(run(subject, announced(checks)), 1):
        outcomes.append(outcome)
        if not as_json:
            progress("")
            show(outcome)
            progress(f"{number} of {len(checks)}")
    progress("")
    failed = sum(outcome.verdict is Verdict.FAILS for outcome in outcomes)
    if as_json:
        click.echo(json.dumps(report(subject, outcomes), indent=2))
    else:
        click.echo(summary(subject, outcomes))
    return failed == 0


def announced(checks: list[Check]) -> Iterable[Check]:
    """The checks, each named on the terminal while it is made."""
    for number, check in enumerate(checks, 1):
        progress(f"{number} of {len(checks)}  {check.name}")
        yield check


def show(outcome: Outcome) -> None:
    verdict = click.style(f"{outcome.verdict.value:<13}", COLORS[outcome.verdict.value])
    click.echo(f"{outcome.check.name:<{NAME_COLUMN}} {verdict} {outcome.note}".rstrip())
    for line in (*outcome.story, *(f"| {row}" for row in outcome.picture.splitlines())):
        click.echo(f"    {line}")


def summary(subject: Subject, outcomes: list[Outcome]) -> str:
    counts = {name: sum(outcome.verdict.value == name for outcome in outcomes) for name in COLORS}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    return f"{subject.spec}: {', '.join(parts)}"


def report(subject: Subject, outcomes: list[Outcome]) -> dict[str, Any]:
    counts = {name: sum(outcome.verdict.value == name for outcome in outcomes) for name in COLORS}
    return {
        "allocator": subject.spec,
        "quick": subject.is_quick,
        "holds": counts["does not hold"] == 0,
        "counts": counts,
        "checks": [outcome.as_json() for outcome in outcomes],
    }


def show_list(subject: Subject, checks: list[Check], as_json: bool) -> None:
    applicable = [check for check in checks if check.traits <= subject.traits]
    if as_json:
        rows = [{"check": each.name, "requirement": each.requirement, "slow": each.is_slow} for each in applicable]
        click.echo(json.dumps(rows, indent=2))
        return
    for check in applicable:
        click.echo(f"{check.name:<{NAME_COLUMN}} {check.requirement}{' (slow)' if check.is_slow else ''}")


# --- all sequences, and planted bugs


def show_exhaustive(subject: Subject, depth: int, seconds: float, as_json: bool) -> bool:
    from heapwright.conformance import Broken
    from heapwright.conformance.exhaustive import RESIZING, TWO_SIZES, explore

    def tell(so_far: object) -> None:
        progress(str(so_far))

    try:
        resizing = explore(subject, RESIZING, depth, seconds / 2, tell)
        two_sizes = explore(subject, TWO_SIZES, 2 * depth, seconds / 2, tell)
    except Broken as broken:
        progress("")
        click.echo(json.dumps({"allocator": subject.spec, "holds": False, "what": broken.what, "story": broken.lines})
                   if as_json else str(broken))  # fmt: skip
        return False
    progress("")
    numbers = {"resizing": resizing._asdict(), "two_sizes": two_sizes._asdict()}
    click.echo(json.dumps({"allocator": subject.spec, "holds": True, **numbers}) if as_json
               else f"{resizing}: sound\nof two sizes, without realloc, {two_sizes}: sound")  # fmt: skip
    return True


def show_mutation(subject: Subject, seconds: float, as_json: bool) -> bool:
    from heapwright.conformance.mutation import judge_checks

    found = judge_checks(subject, seconds, progress)
    progress("")
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else str(found))
    return found.all_can_fire
