"""A candidate measured on recordings: the processor time, memory and latencies of their replays, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from heapwright.advise.candidates import Candidate
from heapwright.advise.figures import Run
from heapwright.lab.replay import Replayed, replay
from heapwright.lab.sample import RunError
from heapwright.traces.events import Process
from heapwright.traces.flat import Flat, flatten

ROUNDS = 10  # warm rounds of one replay, which the latencies follow


@dataclass(frozen=True)
class Recordings:
    """Recorded processes, ready to be replayed one after the other."""

    flats: tuple[Flat, ...]
    has_threads: bool

    def measure(self, candidate: Candidate) -> Run:
        """Replay each recording once. Raises RunError if a replay fails or the malloc refuses a request."""
        if candidate.contestant is None:
            raise ValueError(f"{candidate.text} has not been resolved")
        found = [replay(flat, candidate.contestant, ROUNDS, times_calls=True) for flat in self.flats]
        if any(each.failures for each in found):
            raise RunError("refused requests")
        return run_of(found)


def recordings(processes: Iterable[Process]) -> Recordings:
    flats = tuple(flatten(each.events) for each in processes)
    return Recordings(flats, any(flat.threads > 1 for flat in flats))


def run_of(found: list[Replayed]) -> Run:
    """The figures of one replay of each recording.

    Time is the processor time of a cold pass, because that has the page faults and kernel calls which a program pays.
    """
    return Run(
        {
            "time": sum(each.cold.seconds for each in found),
            "peak": float(sum(each.resident_bytes for each in found)),
            "retained": float(sum(retained(each) for each in found)),
            "p99": max(p99(each) for each in found),
        }
    )


def retained(replayed: Replayed) -> int:
    """The most resident bytes that hold no live block, during the trace or after all blocks are freed."""
    course = replayed.memory.course
    return max(0, course.worst.beyond, course.freed.resident)


def p99(replayed: Replayed) -> float:
    """The seconds that 99 of 100 calls of malloc and its like do not exceed."""
    latencies = replayed.latencies
    found = latencies.figures(latencies.gives)["p99_ns"] if latencies else None
    return (found or 0.0) / 1e9
