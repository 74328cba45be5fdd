"""The choice of the processes of a trace to replay."""

from __future__ import annotations

from dataclasses import dataclass

from heapwright.errors import UserError
from heapwright.traces.events import Process, Trace
from heapwright.traces.sampling import require_all

ALL = "all"
MAX_LISTED = 5  # processes, in a message


class ProcessError(UserError):
    """A process that the trace does not have. The text lists, in one line, those that it has."""


@dataclass(frozen=True)
class Chosen:
    """A process, its place in the trace (from 1), and whether it was chosen by default."""

    process: Process
    number: int
    is_default: bool = False


def choose(trace: Trace, which: str | None) -> list[Chosen]:
    """The processes that `which` names: a PID, a place (from 1), or all; if None, the one with the highest peak.

    A number that is a PID in the trace means that PID. Raises ProcessError if it names no process or several, and
    TraceError if the trace is a sample.
    """
    require_all(trace, "the trace")
    numbered = [Chosen(process, number) for number, process in enumerate(trace.processes, 1)]
    if which is None:
        largest = trace.largest
        return [Chosen(largest, each.number, True) for each in numbered if each.process is largest]
    if which == ALL:
        return numbered
    number = int(which) if which.isdecimal() else 0
    by_pid = [each for each in numbered if each.process.pid == number and number]
    if len(by_pid) > 1:
        places = " and ".join(str(each.number) for each in by_pid)
        raise ProcessError(f"process {which} ran several programs: choose one by its place, {places}")
    found = by_pid or [each for each in numbered if each.number == number]
    if not found:
        raise ProcessError(f"no process is {which}: give a PID, a place, or all; there are {listed(numbered)}")
    return found


def choose_one(trace: Trace, which: str | None) -> Chosen:
    """The one process that `which` names, as `choose` does. Raises ProcessError for all."""
    if which == ALL:
        raise ProcessError("one process is looked at: give a PID or a place")
    return choose(trace, which)[0]


def listed(numbered: list[Chosen]) -> str:
    """The place, PID and command of each process, in one line; only the first few if there are many."""
    told = [f"{each.number} (PID {each.process.pid}: {each.process.command or '?'})" for each in numbered[:MAX_LISTED]]
    more = len(numbered) - len(told)
    return ", ".join(told) + (f", and {more} more" if more else "")
