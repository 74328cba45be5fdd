"""One trace on one malloc, in fresh processes that do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.lab.flat_file import flat_file_of
from heapwright.lab.jobs import do_job, job_file, write_names, write_text
from heapwright.lab.latency import Latencies, LatencyCounts
from heapwright.lab.memory import Memory
from heapwright.lab.sample import RunError
from heapwright.native.jobs.replay_job import MAX_ROUNDS, UNREADABLE, Job
from heapwright.native.library import replayer_library

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant
    from heapwright.lab.crew import Crew
    from heapwright.lab.flat_file import FlatFile
    from heapwright.traces.flat import Flat

SECONDS = 0.5  # no round begins later
FUNCTIONS = ("malloc", "calloc", "realloc", "free")
PROBE_TIMEOUT = 30  # seconds
TIMEOUT = 600.0  # seconds of one process
SAMPLES = 2000  # of the size of the C library's heap, in one replay


@dataclass(frozen=True)
class Cold:
    """One pass in a fresh process, on untouched pages, which writes every byte of every block."""

    seconds: float  # processor time, in user and kernel mode
    page_faults: int


@dataclass(frozen=True)
class Replayed:
    """The results of one replay: bytes, the seconds of each warm round, and, if requested, the times of calls."""

    failures: int
    resident_bytes: int  # growth of the peak of resident memory
    heap_bytes: int  # growth of the peak that the heap held from the kernel; 0 if the malloc does not report it
    memory: Memory
    cold: Cold
    seconds: tuple[float, ...]
    latencies: Latencies | None


def replay(
    flat: Flat, contestant: Contestant, rounds: int, timeout: float = TIMEOUT, *, times_calls: bool = False
) -> Replayed:
    """Replay flat events that are in memory: see `replay_file`."""
    with flat_file_of(flat) as file:
        return replay_file(file, contestant, rounds, timeout, times_calls=times_calls)


def replay_file(
    flat: FlatFile,
    contestant: Contestant,
    rounds: int,
    timeout: float = TIMEOUT,
    *,
    times_calls: bool = False,
    crew: Crew | None = None,
) -> Replayed:
    """Replay flat events in two fresh processes: once cold, then warm, up to `rounds` times or for SECONDS.

    The warm process begins with a pass that measures memory. If `times_calls`, a last pass times each call separately.
    `timeout` is for a trace of up to a million events; a longer one has more time. The processes belong to `crew`.
    Raises RunError if one of them crashes, hangs or cannot be started.
    """
    if not 1 <= rounds <= MAX_ROUNDS:
        raise ValueError(f"a job has 1 to {MAX_ROUNDS} rounds, not {rounds}")
    cold = replay_cold(flat, contestant, timeout, crew)
    with replay_job(flat) as (path, job):
        job.rounds, job.budget = rounds, int(SECONDS * 1e9)
        job.sample = max(1, len(flat) // SAMPLES) if contestant.library is None else 0
        job.times_calls = int(times_calls)
        do_replay(path, job, contestant, timeout, crew)
        return read(job, cold)


def replay_cold(flat: FlatFile, contestant: Contestant, timeout: float, crew: Crew | None = None) -> Cold:
    with replay_job(flat) as (path, job):
        job.is_cold = 1
        do_replay(path, job, contestant, timeout, crew)
        return Cold(job.cold_nanoseconds / 1e9, job.cold_faults)


def do_replay(path: Path, job: Any, contestant: Contestant, timeout: float, crew: Crew | None) -> None:
    """Have a process do a job."""
    seconds = timeout * max(1.0, job.events / 1e6)
    do_job(path, job, replayer_library(), contestant, seconds, {UNREADABLE: "could not read its events"}, crew)


@contextmanager
def replay_job(flat: FlatFile) -> Iterator[tuple[Path, Any]]:
    """Make a job with the events. Yields its path and its struct."""
    with job_file(Job) as (path, job):
        write_text(job.trace, str(flat.path))
        write_names(job.claim.functions, flat.functions)
        job.events, job.slots, job.peak = len(flat), flat.slots, flat.peak
        job.moments = len(flat.moments)
        for moment, event in enumerate(flat.moments):
            job.timeline[moment].event = event
        yield path, job


def probe(contestant: Contestant) -> None:
    """Start an idle process with the malloc. Raises RunError unless its functions come from the malloc's library."""
    with job_file(Job) as (path, job):
        write_names(job.claim.functions, FUNCTIONS)
        do_job(path, job, replayer_library(), contestant, PROBE_TIMEOUT)


def read(job: Any, cold: Cold) -> Replayed:
    """The results of a warm job. Raises RunError if it has none."""
    if job.done == 0:
        raise RunError("ended before it finished a round")
    return Replayed(
        failures=job.failures,
        resident_bytes=job.resident_peak - job.resident_before,
        heap_bytes=job.heap_peak - job.heap_before,
        memory=Memory.of(job),
        cold=cold,
        seconds=tuple(job.nanoseconds[i] / 1e9 for i in range(job.done)),
        latencies=latencies(job) if job.times_calls else None,
    )


def latencies(job: Any) -> Latencies:
    gives, frees, reads = (LatencyCounts.of(each) for each in (job.gives, job.frees, job.reads))
    return Latencies(gives, frees, reads, job.cycles, job.cycles_nanoseconds)
