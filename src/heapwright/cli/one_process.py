"""What the commands share that replay one process of a recording: its options, the choice, and the report's head."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import tell_notes

if TYPE_CHECKING:
    from heapwright.lab.processes import Chosen
    from heapwright.traces.events import Events, Trace

TRACE = click.argument("trace", type=click.Path(dir_okay=False, path_type=Path))
PROCESS = click.option(
    "--process",
    metavar="PID|N",
    help="Replay this process, by PID or position. Default: the one with the highest peak of live memory.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")


@dataclass(frozen=True)
class Subject:
    """One process of a recording in memory."""

    path: Path
    trace: Trace
    chosen: Chosen

    @property
    def events(self) -> Events:
        return self.chosen.process.events

    def head(self) -> dict[str, Any]:
        """What is replayed, and the settings of the caller's environment: the head of a report."""
        from heapwright.cli.compare_subjects import facts_of
        from heapwright.lab.contestant import caller_tuning

        process = self.chosen.process
        command = process.command or " ".join(self.trace.command)
        place = self.chosen.number, len(self.trace.processes), self.chosen.is_default
        about = facts_of(self.path, command, process.pid, process.summary(), *place)
        return {"trace": about, "environment": caller_tuning()}


def opened(path: Path, process: str | None) -> Subject:
    """The process of a recording that the options choose. What was repaired in the recording is said."""
    from heapwright.lab.processes import choose_one
    from heapwright.traces.importers import open_trace

    trace = open_trace(path)
    chosen = choose_one(trace, process)
    tell_notes(chosen.process.notes)
    return Subject(path, trace, chosen)


def show_report(report: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Print a report as JSON, or as `show` does."""
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        show(report)
