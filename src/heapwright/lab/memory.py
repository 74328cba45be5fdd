"""The memory use of a replay: what the malloc reports at three moments, and the kernel's view from start to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapwright.native.jobs.replay_job import MAX_MOMENTS
from heapwright.stats import UNREPORTED

if TYPE_CHECKING:
    from heapwright.traces.arrays import I64
    from heapwright.traces.flat import Flat

WINDOWS = MAX_MOMENTS - 2  # of a replay's events, without the moments of the peak and the end


@dataclass(frozen=True)
class Usage:
    """Bytes of a heap; None for what its malloc does not report. Held is the sum of requested, internal, external."""

    requested: int  # by the live blocks
    granted: int | None  # usable bytes of those
    held: int | None  # from the kernel
    free: int | None
    largest_free: int | None  # extent

    @classmethod
    def of(cls, look: Any) -> Usage:
        """From a Look of a job."""
        return cls(look.requested, *map(told, (look.granted, look.held, look.free, look.largest_free)))

    @property
    def internal(self) -> int | None:
        """Bytes inside blocks, beyond what was requested."""
        return None if self.granted is None else self.granted - self.requested

    @property
    def external(self) -> int | None:
        """Bytes outside blocks: free memory, headers, the allocator's own records."""
        return None if self.held is None or self.granted is None else self.held - self.granted

    def as_json(self) -> dict[str, int | None]:
        return {
            "requested_bytes": self.requested,
            "internal_bytes": self.internal,
            "external_bytes": self.external,
            "free_bytes": self.free,
            "largest_free_bytes": self.largest_free,
            "held_bytes": self.held,
        }


@dataclass(frozen=True)
class Moment:
    """The kernel's view between two events: requested live bytes, and the growth of resident memory so far."""

    event: int  # the number of events done
    live: int
    resident: int

    @property
    def beyond(self) -> int:
        """Resident bytes beyond the live ones."""
        return self.resident - self.live

    def as_json(self) -> dict[str, int]:
        return {"event": self.event, "live_bytes": self.live, "resident_bytes": self.resident}


@dataclass(frozen=True)
class Course:
    """Four moments of a replay: most bytes live, most resident beyond what is live, the trace's end, and all freed."""

    peak: Moment
    worst: Moment
    end: Moment
    freed: Moment

    @classmethod
    def of(cls, job: Any) -> Course:
        """Read a job's timeline, which holds at least the peak and the end."""
        timeline = (job.timeline[i] for i in range(job.moments))
        found = [Moment(each.event, each.live, each.resident) for each in timeline]
        peak = next(each for each in found if each.event == job.peak)
        worst = max(found, key=lambda each: each.beyond)
        return cls(peak, worst, found[-1], Moment(job.events, 0, job.resident_freed))

    def as_json(self) -> dict[str, dict[str, int]]:
        return {name: moment.as_json() for name, moment in vars(self).items()}


@dataclass(frozen=True)
class Memory:
    """What the malloc reports when the most bytes are live and at the trace's end, and the kernel's view."""

    at_peak: Usage
    at_end: Usage
    retained: int | None  # bytes held from the kernel after all blocks were freed
    course: Course

    @classmethod
    def of(cls, job: Any) -> Memory:
        return cls(Usage.of(job.at_peak), Usage.of(job.at_end), told(job.when_freed.held), Course.of(job))

    def as_json(self) -> dict[str, Any]:
        return {
            **self.at_peak.as_json(),
            "retained_bytes": self.retained,
            "at_end": self.at_end.as_json(),
            "moments": self.course.as_json(),
        }


def told(number: int) -> int | None:
    return None if number == UNREPORTED else number


def moments_of(flat: Flat) -> list[int]:
    """The moments to look, in events done: the peak, the end, and the lowest live memory in each window."""
    lows = Lows(len(flat))
    lows.take(flat.live)
    return sorted(lows.moments | {flat.peak, len(flat)})


class Lows:
    """The moments of the lowest live memory in each window of a trace, which is taken some events at a time.

    Resident memory without live data shows best when little is live.
    """

    def __init__(self, events: int):
        self._edges = [events * i // WINDOWS for i in range(WINDOWS + 1)]
        self._done = 0
        self._window = 0  # that the next event is in, or an empty one before it
        self._lowest: dict[int, tuple[int, int]] = {}  # of each window, the live bytes and the moment

    @property
    def moments(self) -> set[int]:
        """In events done."""
        return {moment for _, moment in self._lowest.values()}

    def take(self, live: I64) -> None:
        """Look at the live bytes after each of the next events."""
        first, end = self._done, self._done + len(live)
        while self._window < WINDOWS:
            start, stop = self._edges[self._window : self._window + 2]
            self._look(live[max(start - first, 0) : max(stop - first, 0)], max(start, first))
            if stop > end:
                break
            self._window += 1
        self._done = end

    def _look(self, live: I64, first: int) -> None:
        """Look at a part of the present window, which begins with event `first`."""
        if len(live):
            at = int(live.argmin())
            found = int(live[at]), first + at + 1
            self._lowest[self._window] = min(self._lowest.get(self._window, found), found)
