"""`heapwright check`: test one allocator with the conformance suite."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.options import Real, refuse_idle
from heapwright.cli.terminal import progress

if TYPE_CHECKING:
    from heapwright.conformance import Check, CheckResult, Subject

NAME_COLUMN, WIDTH = 28, 100
PLURALS = {"holds": "hold", "does not hold": "do not hold", "skipped": "skipped"}
COLORS = {"holds": "green", "does not hold": "red", "skipped": "yellow"}


@click.command()
@click.argument("allocator")
@click.option("--quick", is_flag=True, help="Run fewer and shorter tests and compile nothing; takes some seconds.")
@click.option(
    "--only", multiple=True, metavar="CHECK", help="Run only checks whose names begin with CHECK; may be repeated."
)
@click.option("-x", "--exitfirst", "stops", is_flag=True, help="Stop at the first check that fails.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the stories.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.py",
    help="Save the story of the first failure, for `heapwright simulate FILE.py --step`.",
)
@click.option("--list", "as_list", is_flag=True, help="List and explain the checks without running them.")
@click.option(
    "--mutation", is_flag=True, help="Test the checks: plant bugs in the allocator and count those that are caught."
)
@click.option(
    "--exhaustive",
    type=click.IntRange(1, 20),
    metavar="DEPTH",
    help="Try every sequence of DEPTH requests, and every sequence of twice as many without realloc.",
)
@click.option(
    "--seconds",
    type=Real(1),
    default=60.0,
    show_default=True,
    help="Time limit of --mutation or --exhaustive, in seconds of processor time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    *,
    allocator: str,
    quick: bool,
    only: tuple[str, ...],
    stops: bool,
    seed: int,
    save: Path | None,
    as_list: bool,
    mutation: bool,
    exhaustive: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Test ALLOCATOR (a name, a file, a folder or a stack) with the conformance suite.

    \b
    heapwright check mine.py --quick

    The checks depend on what the allocator defines. They play random stories (sequences of requests) in the simulated
    process, where each load and store is checked, and compare the results with compiled code. A check that does not
    hold shows the shortest failing story that was found, and the heap at its end. If one cause breaks several checks,
    only the first of them shows the story.

    Exit status: 0 all checks hold, 1 some do not hold, 2 wrong usage.

    \b
    heapwright check mine.py --only U7 --only fork
    heapwright check mine.py -x --save story.py && heapwright simulate story.py -a mine.py --step
    heapwright check mine.py --exhaustive 5
    heapwright check mine.py --mutation --seconds 120
    """
    if save and save.suffix != ".py":
        raise click.UsageError("--save writes a Python program: give it a name that ends in .py")
    refuse_unused(as_list, mutation, exhaustive)
    subject = subject_of(allocator, quick, seed)
    if as_list:
        show_list(subject, chosen(only, not quick), as_json)
        return
    if mutation:
        sound = show_mutation(subject, seconds, as_json)
    elif exhaustive is not None:
        sound = show_exhaustive(subject, exhaustive, seconds, as_json, save)
    else:
        outcomes = show_checks(subject, chosen(only, not quick), as_json, stops)
        sound = not failures(outcomes)
        if save and not sound:
            save_first(subject, save, outcomes)
    raise click.exceptions.Exit(0 if sound else 1)


def refuse_unused(as_list: bool, mutation: bool, exhaustive: int | None) -> None:
    """Refuse options that have no effect together with --list, --mutation or --exhaustive, or without them."""
    for_checks = ("quick", "only", "stops", "seed")
    if as_list:
        refuse_idle("with --list", "mutation", "exhaustive", "seconds", "stops", "seed", "save")
    elif mutation:
        refuse_idle("with --mutation", *for_checks, "exhaustive", "save")
    elif exhaustive is not None:
        refuse_idle("with --exhaustive", *for_checks)
    else:
        refuse_idle("without --mutation or --exhaustive", "seconds")


def subject_of(allocator: str, quick: bool, seed: int) -> Subject:
    from hypothesis.configuration import set_hypothesis_home_dir

    from heapwright.conformance import Subject

    # Hypothesis would otherwise leave its folder in the current one.
    set_hypothesis_home_dir(Path(tempfile.gettempdir(), "heapwright-hypothesis"))
    return Subject(allocator, quick, seed=seed)


def chosen(only: Iterable[str], slow: bool) -> list[Check]:
    """The checks to run, with the linter's first: a broken rule explains many of the other failures."""
    from heapwright.conformance import checks_for

    try:
        return sorted(checks_for(only, slow), key=lambda check: check.name != "lint")
    except KeyError as error:
        raise click.UsageError(f"there is no check named {error}: see --list") from error


# --- the checks


def show_checks(subject: Subject, checks: list[Check], as_json: bool, stops: bool) -> list[CheckResult]:
    from heapwright.conformance import run

    outcomes: list[CheckResult] = []
    for number, outcome in enumerate(run(subject, announced(checks)), 1):
        outcomes.append(outcome)
        if not as_json:
            progress("")
            show(outcome)
            progress(f"{number} of {len(checks)}")
        if stops and failures([outcome]):
            break
    progress("")
    if as_json:
        click.echo(json.dumps(report(subject, outcomes), indent=2))
    else:
        show_causes(outcomes)
        click.echo(summary(subject, outcomes))
    return outcomes


def failures(outcomes: Iterable[CheckResult]) -> list[CheckResult]:
    from heapwright.conformance import Verdict

    return [outcome for outcome in outcomes if outcome.verdict is Verdict.FAILS]


def announced(checks: list[Check]) -> Iterable[Check]:
    """The checks, each of which is named on the progress line while it runs."""
    for number, check in enumerate(checks, 1):
        progress(f"{number} of {len(checks)}  {check.name}")
        yield check


def show(outcome: CheckResult) -> None:
    verdict = click.style(f"{outcome.verdict.value:<13}", COLORS[outcome.verdict.value])
    note = f"as {outcome.told_by}" if outcome.told_by else outcome.note
    click.echo(f"{outcome.check.name:<{NAME_COLUMN}} {verdict} {note}".rstrip())
    for line in (*outcome.story, *(f"| {row}" for row in outcome.picture.splitlines())):
        click.echo(f"    {line}")


def show_causes(outcomes: list[CheckResult]) -> None:
    """Print the causes that broke more than one check, with the names of the checks."""
    from heapwright.conformance.suite import causes_in

    for broken in causes_in(outcomes).values():
        if broken[1:]:
            names = ", ".join(outcome.check.name for outcome in broken)
            click.echo(f"one cause breaks {len(broken)} checks: {broken[0].note}")
            click.echo(click.wrap_text(names, WIDTH, "    ", "    "))


def summary(subject: Subject, outcomes: list[CheckResult]) -> str:
    counts = {name: sum(outcome.verdict.value == name for outcome in outcomes) for name in COLORS}
    parts = [f"{count} {name if count == 1 else PLURALS[name]}" for name, count in counts.items() if count]
    return f"{subject.spec}: {', '.join(parts)}{f' (seed {subject.seed})' if subject.seed else ''}"


def report(subject: Subject, outcomes: list[CheckResult]) -> dict[str, Any]:
    from heapwright.conformance.suite import causes_in

    counts = {name: sum(outcome.verdict.value == name for outcome in outcomes) for name in COLORS}
    return {
        "allocator": subject.spec,
        "quick": subject.is_quick,
        "seed": subject.seed,
        "holds": counts["does not hold"] == 0,
        "counts": counts,
        "causes": [
            {"what": broken[0].note, "checks": [outcome.check.name for outcome in broken]}
            for broken in causes_in(outcomes).values()
        ],
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


# --- saving a failing story


def save_first(subject: Subject, path: Path, outcomes: list[CheckResult]) -> None:
    """Save the story of the first failure that has one."""
    from heapwright.conformance.saved import can_be_played

    for outcome in failures(outcomes):
        if can_be_played(outcome.story):
            save_story(subject, path, outcome.check.name, outcome.note, outcome.story, outcome.machine)
            return
    click.echo(f"no failure has a story that can be replayed, so {path} is not written", err=True)


def save_story(subject: Subject, path: Path, check: str, what: str, story: Iterable[str], machine: str) -> None:
    """Write a story as a program, and print the command that runs it."""
    from heapwright.conformance.saved import program
    from heapwright.files import written_whole

    command = f"heapwright simulate {shlex.quote(str(path))} -a {shlex.quote(subject.spec)}{machine} --step"
    with written_whole(path) as file:
        file.write(program(f"{check} of {subject.spec}: {what}", story, command).encode())
    click.echo(f"the story of {check} is saved; run it with: {command}", err=True)


# --- exhaustive search, and planted bugs


def show_exhaustive(subject: Subject, depth: int, seconds: float, as_json: bool, save: Path | None) -> bool:
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
        if save:
            save_story(subject, save, "exhaustive", broken.what, broken.lines, broken.machine)
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
