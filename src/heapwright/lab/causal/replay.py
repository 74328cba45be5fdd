"""A plan on one malloc, in a fresh process that does nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.lab.flat_file import functions_of
from heapwright.lab.jobs import do_job, job_file, write_names
from heapwright.lab.memory import Moment, Usage, told
from heapwright.lab.replay import SAMPLES, SECONDS
from heapwright.lab.sample import RunError
from heapwright.native.jobs.causal_job import GAVE_UP, TABLES, Job
from heapwright.native.library import causal_library

if TYPE_CHECKING:
    from heapwright.lab.causal.plan import Plan
    from heapwright.lab.contestant import Contestant

STACK = 256 << 10  # bytes, of each thread: enough for any malloc, and small enough for thousands of threads


@dataclass(frozen=True)
class Pass:
    """Seconds of one timed pass: on the wall and of all threads' processor time, with and without the calls."""

    wall: float
    cpu: float
    idle_wall: float
    idle_cpu: float


@dataclass(frozen=True)
class Waited:
    """The waits of one kind that were not over at once, in one pass on average; seconds of all threads together."""

    times: float
    seconds: float


@dataclass(frozen=True)
class Memory:
    """What the malloc reports when the most bytes are live and at the recording's end, and the kernel's view.

    No thread does any event at these moments. Resident bytes are the growth since before the first event.
    """

    at_peak: Usage
    at_end: Usage
    retained: int | None  # held from the kernel after all blocks were freed
    peak: Moment
    end: Moment
    freed: Moment

    @classmethod
    def of(cls, job: Any) -> Memory:
        at_peak, at_end = Usage.of(job.at_peak), Usage.of(job.at_end)
        return cls(
            at_peak,
            at_end,
            told(job.when_freed.held),
            Moment(job.peak_event, at_peak.requested, job.resident_at_peak),
            Moment(job.events, at_end.requested, job.resident_at_end),
            Moment(job.events, 0, job.resident_freed),
        )

    def as_json(self) -> dict[str, Any]:
        moments = {"peak": self.peak, "end": self.end, "freed": self.freed}
        return {
            **self.at_peak.as_json(),
            "retained_bytes": self.retained,
            "at_end": self.at_end.as_json(),
            "moments": {name: moment.as_json() for name, moment in moments.items()},
        }


@dataclass(frozen=True)
class Replayed:
    """The results of one replay on threads."""

    failures: int
    resident_bytes: int  # growth of the peak
    heap_bytes: int  # growth of the peak that the heap held from the kernel; 0 if the malloc does not report it
    most_live: int  # requested bytes, at any time of the pass that measures memory
    beyond: float  # the most that was live beyond the recorded curve, as a part of it
    memory: Memory
    passes: tuple[Pass, ...]
    for_blocks: Waited
    for_sections: Waited


def replay(plan: Plan, contestant: Contestant, rounds: int, timeout: float = 600) -> Replayed:
    """Replay a plan in a fresh process, up to `rounds` times or for SECONDS, after a pass that measures memory.

    Raises RunError if the process crashes, hangs or cannot be started.
    """
    with causal_job(plan) as (path, job):
        job.rounds, job.budget, job.stack = rounds, int(SECONDS * 1e9), STACK
        job.sample = max(1, len(plan.sections) // SAMPLES) if contestant.library is None else 0
        do_job(path, job, causal_library(), contestant, timeout, GAVE_UP)
        return read(job)


@contextmanager
def causal_job(plan: Plan) -> Iterator[tuple[Path, Any]]:
    """Make a job with a plan. Yields its path and its struct."""
    tables = (plan.threads, plan.sections, plan.stops, plan.records)
    with job_file(Job, b"".join((bytes(TABLES - Job.SIZE), *(each.tobytes() for each in tables)))) as (path, job):
        write_names(job.claim.functions, functions_of(plan.records))
        job.threads, job.sections, job.stops, job.events = map(len, tables)
        job.slots, job.peak, job.peak_event = plan.slots, plan.peak, plan.peak_event
        yield path, job


def read(job: Any) -> Replayed:
    """The results of a job. Raises RunError if it has none."""
    if job.done == 0:
        raise RunError("ended before it finished a round")
    return Replayed(
        failures=job.failures.load(),
        resident_bytes=job.resident_peak - job.resident_before,
        heap_bytes=job.heap_peak - job.heap_before,
        most_live=job.most,
        beyond=job.over / 1e6,
        memory=Memory.of(job),
        passes=tuple(passed(job.timings[i]) for i in range(job.done)),
        for_blocks=waited(job.waited, job.done),
        for_sections=waited(job.held, job.done),
    )


def passed(timing: Any) -> Pass:
    calls, idle = timing.calls, timing.idle
    return Pass(*(nanoseconds / 1e9 for nanoseconds in (calls.wall, calls.cpu, idle.wall, idle.cpu)))


def waited(total: Any, rounds: int) -> Waited:
    return Waited(total.times / rounds, total.nanoseconds / 1e9 / rounds)
