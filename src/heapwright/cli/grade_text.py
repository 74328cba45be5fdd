"""The report of `heapwright grade` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, say
from heapwright.wording import share

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120  # columns, if the terminal does not give a width
NAME_COLUMN = 14
HEADS = ("trace", "requests", "peak payload", "peak heap", "utilization", "ns/request", "× reference", "runs")


def show(report: dict[str, Any]) -> None:
    """Print the checks, the traces with what they teach, and the score with its sum."""
    out = console(WIDTH)
    rules = report["rules"]
    say(out, f"{report['submission']}, graded with seed {rules['seed']} and an alignment of {rules['alignment']} bytes")
    for outcome in (report["build"], *report["conformance"], *failed(report["traces"])):
        for line in outcome_lines(outcome):
            click.echo(line)
    done = [each for each in report["traces"] if each["holds"]]
    if done:
        out.print()
        print_table(out, HEADS, [row(each) for each in done])
        teach(out, done)
    if report["advice"]:
        out.print()
        say(out, "`heapwright check --quick` in the submission's own process, which does not count:")
        for line in report["advice"]:
            say(out, f"    | {line}")
    out.print()
    say(out, score_line(report))


def failed(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in traces if not each["holds"]]


def outcome_lines(outcome: dict[str, Any]) -> list[str]:
    """A check in one line; one that does not hold, with the requests before it and what the submission printed."""
    name = f"{outcome['name']:<{NAME_COLUMN}}"
    failure = outcome["failure"]
    if failure is None:
        return [f"{name} {click.style('holds', fg='green')}          {outcome['requirement']}"]
    verdict, color = ("forgiven     ", "yellow") if outcome["forgiven"] else ("does not hold", "red")
    lines = [f"{name} {click.style(verdict, fg=color)}  {failure['rule']}: {failure['what']}"]
    lines += [f"    {line}" for line in failure["story"]]
    if outcome["printed"]:
        lines.append("    the submission printed at its end (this does not count):")
    return lines + [f"    | {line}" for line in outcome["printed"]]


def row(trace: dict[str, Any]) -> tuple[str, ...]:
    return (
        trace["name"],
        f"{trace['requests']:,}",
        f"{trace['peak_payload']:,}",
        f"{trace['peak_heap']:,}",
        share(trace["utilization"], 1),
        *times(trace["time"], trace["requests"]),
    )


def times(time: dict[str, Any] | None, requests: int) -> tuple[str, str, str]:
    """The time of a request, the throughput in parts of the reference's, and its range over the runs."""
    if time is None:
        return "-", "-", "-"
    ratios = [reference / own for own, reference in zip(time["own"], time["reference"], strict=True)]
    return f"{min(time['own']) / requests:,.0f}", f"{time['ratio']:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"


def teach(out: Console, traces: list[dict[str, Any]]) -> None:
    """What each trace shows about the submission's memory, the worst first."""
    for trace in sorted(traces, key=lambda each: float(each["utilization"])):
        out.print()
        say(out, f"{trace['name']}:")
        for line in trace["lessons"]:
            say(out, f"    {line}")


def score_line(report: dict[str, Any]) -> str:
    """The score, with the sum that it comes from or the reason why it is 0."""
    if not report["passed"]:
        broken = [each for each in (report["build"], *report["conformance"], *report["traces"]) if is_broken(each)]
        names = ", ".join(each["name"] for each in broken)
        return f"score 0 of 100: {names} {'does' if len(broken) == 1 else 'do'} not hold"
    points = report["rules"]["utilization_points"]
    throughput, against = report["throughput"], report["rules"]["against"]
    rest = f"{100 - points:g} × {min(1.0, throughput):.3f} throughput ({throughput:.2f} of {against})"
    return f"score {report['score']} of 100 = {points:g} × {report['utilization']:.3f} utilization + {rest}"


def is_broken(outcome: dict[str, Any]) -> bool:
    return not outcome["holds"] and not outcome["forgiven"]
