"""One trace on one malloc, in a fresh process that does nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.lab.jobs import do_job, job_file
from heapwright.lab.latency import Latencies, Tally
from heapwright.lab.memory import Usage
from heapwright.lab.sample import RunError
from heapwright.native.library import replayer_library
from heapwright.native.runtime.replay_job import MOST_ROUNDS, Job

if TYPE_CHECKING:
    from heapwright.traces.flat import Flat

SECONDS = 0.5  # no round begins after so long
SAMPLES = 2000  # times that the C library's malloc is asked for its size


@dataclass(frozen=True)
class Contestant:
    """A malloc to measure: its name, and its library; None is the C library."""

    name: str
    library: Path | None


@dataclass(frozen=True)
class Replayed:
    """What one replay measured: bytes, seconds of each round, and, where that was asked for, of each call."""

    failures: int
    resident_bytes: int  # how much the most resident memory grew
    heap_bytes: int  # the most that the heap held from the kernel; 0 if its allocator does not tell
    usage: Usage
    seconds: tuple[float, ...]
    latencies: Latencies | None


def replay(
    flat: Flat, contestant: Contestant, rounds: int, timeout: float = 600, *, times_calls: bool = False
) -> Replayed:
    """Replay flat events once with touched pages, then up to `rounds` times, or SECONDS, against the clock.

    If `times_calls`, a last pass times each call by itself: on warm pages, as the rounds before it.
    Raises RunError when the process dies, hangs or cannot be started.
    """
    if not 1 <= rounds <= MOST_ROUNDS:
        raise ValueError(f"a job has 1 to {MOST_ROUNDS} rounds, not {rounds}")
    with job_file(Job, flat.records.data) as (path, job):
        job.events, job.slots, job.peak = len(flat), flat.slots, flat.peak
        job.rounds, job.budget = rounds, int(SECONDS * 1e9)
        job.sample = max(1, len(flat) // SAMPLES) if contestant.library is None else 0
        job.times_calls = int(times_calls)
        do_job(path, replayer_library(), contestant.library, timeout)
        return read(job)


def read(job: Any) -> Replayed:
    """The results in a job. Raises RunError when there are none."""
    if job.done == 0:
        raise RunError("ended before its first round did")
    return Replayed(
        failures=job.failures,
        resident_bytes=job.resident_peak - job.resident_before,
        heap_bytes=job.heap_peak - job.heap_before,
        usage=Usage.of(job.at_peak, job.at_end),
        seconds=tuple(job.nanoseconds[i] / 1e9 for i in range(job.done)),
        latencies=latencies(job) if job.times_calls else None,
    )


def latencies(job: Any) -> Latencies:
    gives, frees, reads = (Tally.of(each) for each in (job.gives, job.frees, job.reads))
    return Latencies(gives, frees, reads, job.cycles, job.cycles_nanoseconds)
