"""Follow one malloc over a trace: a run in a fresh process that stops at each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heapwright.lab.compare import CompareError
from heapwright.lab.curves.columns import AFTER, EVENTS, TIME, Curves, Point
from heapwright.lab.curves.merit import FLOOR, Held, merit_of
from heapwright.lab.curves.parts import Holes, IdentityError, Parts
from heapwright.lab.curves.views import stack_of
from heapwright.lab.curves.watch import AFTER_TRACE, Watch, watched
from heapwright.lab.curves.worker import started
from heapwright.lab.flat_file import functions_of
from heapwright.lab.jobs import job_file, write_names
from heapwright.lab.memory import told
from heapwright.lab.sample import RunError
from heapwright.native.jobs.curves_job import MAX_SAMPLES, SCALE, SIZES, Job
from heapwright.native.library import curves_library
from heapwright.traces.events import DEALLOC, times_of
from heapwright.traces.flat import flatten

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant
    from heapwright.traces import events as traces
    from heapwright.traces.arrays import I64
    from heapwright.traces.flat import Flat

SAMPLES = 200
LIMIT = MAX_SAMPLES - AFTER_TRACE - 1  # of samples, without that of the peak
IDLE = 5  # seconds
CALLS = 10_000  # pairs of malloc and free after the pause
TIMEOUT = 600.0  # seconds from one sample to the next
QUANTILES = (0.5, 0.9, 0.99, 1.0)  # of the sizes of requests


@dataclass(frozen=True)
class Plan:
    """When to look: `samples` times, at equal steps of EVENTS or of TIME."""

    samples: int = SAMPLES
    steps: str = EVENTS

    def events(self, flat: Flat, times: I64) -> list[int]:
        """The numbers of events after which to look, the peak of live bytes and the end among them.

        `times` has the microseconds of each event since the first. A step of time without events gives no sample.
        """
        equal = range(1, self.samples + 1)
        if self.steps == TIME:
            moments = [int(times[-1]) * i // self.samples for i in equal] if len(times) else []
            steps = set(np.searchsorted(times, moments, side="right").tolist())
        else:
            steps = {len(flat) * i // self.samples for i in equal}
        return sorted((steps | {flat.peak, len(flat)}) - {0}) or [0]


def curves_of(
    flat: Flat,
    contestant: Contestant,
    plan: Plan,
    idle: int = IDLE,
    progress: Callable[[int, int], None] = lambda done, of: None,
    times: I64 | None = None,
) -> Curves:
    """The curves of a malloc over flat events. `progress` gets the samples done and their number.

    `times` has the microseconds of each event since the first, if they are known. Raises RunError if the process
    crashes or hangs, and if the parts of a sample do not add up.
    """
    known = np.zeros(0, np.int64) if times is None else times
    events, stack = plan.events(flat, known), stack_of(contestant)
    with curves_job(flat, events, idle) as (path, job):
        job.warms = int(not stack)
        with started(path, job, curves_library(stack), contestant, TIMEOUT) as worker:
            watch = watched(worker, contestant, stack, job, progress)
        if watch is None:
            raise RunError("ended before its last sample")
        return curves_from(job, watch, known)


def curves_of_each(
    process: traces.Process, contestants: Iterable[Contestant], plan: Plan, progress: Callable[[str], None]
) -> Iterator[Curves]:
    """The curves of several mallocs on one process's events. `progress` gets a line about each sample.

    Raises CompareError if a replay crashes or hangs, or if the parts of a sample do not add up.
    """
    flat, times = flatten(process.events), times_of(process.events)
    for each in contestants:
        try:
            yield curves_of(flat, each, plan, progress=partial(tell, progress, each.name), times=times)
        except RunError as error:
            raise CompareError(f"{each.name}: the replay for the curves {error}") from error


def tell(progress: Callable[[str], None], name: str, done: int, of: int) -> None:
    progress(f"{name}, curves: sample {done + 1} of {of}")


@contextmanager
def curves_job(flat: Flat, events: list[int], idle: int) -> Iterator[tuple[Path, Any]]:
    """Make a job with the events and the samples. Yields its path and its struct."""
    with job_file(Job, flat.records.data) as (path, job):
        write_names(job.claim.functions, functions_of(flat.records))
        job.events, job.slots, job.floor = len(flat), flat.slots, FLOOR
        job.samples, job.idle, job.calls = len(events), idle, CALLS
        for number, event in enumerate(events):
            job.sample[number].event = event
        for number, size in enumerate(request_sizes(flat)):
            job.sizes[number] = size
        yield path, job


def request_sizes(flat: Flat) -> list[int]:
    """The quantiles of the sizes of all requests, at least 1."""
    sizes = np.sort(flat.records["size"][flat.records["op"] < DEALLOC])
    if not len(sizes):
        return [1] * SIZES
    return [max(1, int(sizes[min(len(sizes) - 1, int(each * len(sizes)))])) for each in QUANTILES]


# --- the results


def curves_from(job: Any, watch: Watch, times: I64) -> Curves:
    """The curves of a finished job. Raises RunError if the parts of a sample do not add up."""
    found = [summed(watch, job.sample[number], number, times) for number in range(job.samples + AFTER_TRACE)]
    points = [point for point, _ in found[: job.samples]]
    at_peak, holes = max(found[: job.samples], key=lambda each: each[0].parts.requested)
    resident = max(point.resident for point in points)
    return Curves(
        source=watch.view.source,
        points=points,
        after=dict(zip(AFTER, [point for point, _ in found[job.samples - 1 :]], strict=True)),
        merit=merit_of(at_peak.parts, holes, held_over(job, points), resident),
        idle_seconds=job.idle,
        calls=job.calls,
        failures=job.failures,
    )


def summed(watch: Watch, sample: Any, number: int, times: I64) -> tuple[Point, Holes | None]:
    """One sample with its parts, which are checked against each other."""
    try:
        known = watch.view.told(number, sample)
        parts = Parts.of(sample.live, told(sample.granted), known)
    except IdentityError as error:
        raise RunError(f"does not add up at sample {number + 1}, after event {sample.event:,}: {error}") from error
    seconds = int(times[sample.event - 1]) / 1e6 if len(times) else None
    return Point(sample.event, watch.resident[number], parts, seconds), known.holes if known else None


def held_over(job: Any, points: list[Point]) -> Held | None:
    """What was held: after each event if the worker could read it, otherwise at the samples that have a figure."""
    if job.held_words[0]:
        average = job.ratios / job.ratio_events / SCALE if job.ratio_events else None
        return Held(True, job.held_peak, job.held_peak_live, average)
    known = [(point.parts.held, point.parts.requested) for point in points if point.parts.held is not None]
    if not known:
        return None
    peak, live = max(known)
    ratios = [held / requested for held, requested in known if requested >= FLOOR]
    return Held(False, peak, live, sum(ratios) / len(ratios) if ratios else None)
