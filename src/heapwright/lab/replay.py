"""One trace on one malloc, in a fresh process that does nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.lab.jobs import do_job, job_file
from heapwright.lab.sample import RunError
from heapwright.native.library import replayer_library
from heapwright.native.runtime.replay_job import MOST_ROUNDS, Job

if TYPE_CHECKING:
    from heapwright.traces.flat import Flat

SECONDS = 0.5  # no round begins after so long
SAMPLES = 2000  # times that the C library's malloc is asked for its size


@dataclass(frozen=True)
class Contestant:
    """A malloc to measure: its name, its library (None is the C library), and whether it tells its peak itself."""

    name: str
    library: Path | None
    is_ours: bool


@dataclass(frozen=True)
class Replayed:
    """What one replay measured: bytes, and seconds of each round."""

    failures: int
    resident_bytes: int  # how much the most resident memory grew
    heap_bytes: int  # the most that the heap held from the kernel; 0 if its allocator does not tell
    seconds: tuple[float, ...]


def replay(flat: Flat, contestant: Contestant, rounds: int, timeout: float = 600) -> Replayed:
    """Replay flat events once with touched pages, then up to `rounds` times, or SECONDS, against the clock.

    Raises RunError when the process dies, hangs or cannot be started.
    """
    if not 1 <= rounds <= MOST_ROUNDS:
        raise ValueError(f"a job has 1 to {MOST_ROUNDS} rounds, not {rounds}")
    with job_file(Job, flat.records.data) as (path, job):
        job.events, job.slots = len(flat), flat.slots
        job.rounds, job.budget = rounds, int(SECONDS * 1e9)
        job.sample = max(1, len(flat) // SAMPLES) if contestant.library is None else 0
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
        seconds=tuple(job.nanoseconds[i] / 1e9 for i in range(job.done)),
    )
