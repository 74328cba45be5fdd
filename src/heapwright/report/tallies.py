"""What is summed over a process's events, one class for each subject. Each takes the changes chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heapwright.report.blocks import Changes
from heapwright.report.callers import CLASSES, size_class
from heapwright.traces.arrays import F64, I64, np
from heapwright.traces.sampling import rounded


class Vector:
    """Numbers by call stack or by thread, as many as are named; the others are 0. Whole ones are exact."""

    def __init__(self) -> None:
        self._values: I64 | F64 = np.zeros(0, np.int64)

    def add(self, places: Any, values: Any) -> None:
        kind = np.result_type(self._values, values)
        self._values = padded(self._values.astype(kind, copy=False), int(places.max(initial=0)) + 1)
        np.add.at(self._values, places, values)

    def raise_to(self, places: Any, values: Any) -> None:
        """Raise each element to at least the values."""
        self._values = padded(self._values, int(places.max(initial=0)) + 1)
        np.maximum.at(self._values, places, values)

    def values(self, length: int = 0) -> I64:
        """A copy as whole numbers, at least `length` long."""
        found: I64 = padded(rounded(self._values), length)
        return found

    def fractions(self) -> F64:
        """A copy; what should be 0 is not less."""
        return np.maximum(self._values.astype(np.float64), 0)

    def total(self) -> int:
        return round(float(self._values.sum())) if self._values.dtype == np.float64 else int(self._values.sum())


def padded(values: Any, length: int) -> Any:
    return np.pad(values, (0, max(0, length - len(values))))


@dataclass(frozen=True)
class Moment:
    """The live blocks at one moment, by call stack and by thread."""

    x: int
    live_bytes: int
    live_blocks: int
    bytes_by_site: I64
    blocks_by_site: I64
    bytes_by_thread: I64
    variance_by_site: F64  # of the bytes; 0 unless they are estimates


class Live:
    """The live blocks after the events so far, by who asked for them and by the thread that allocated them."""

    def __init__(self) -> None:
        self._bytes, self._blocks, self._by_thread, self._variance = Vector(), Vector(), Vector(), Vector()
        self.x = self.live_bytes = self.live_blocks = 0

    def add(self, changes: Changes) -> None:
        if not len(changes):
            return
        self._bytes.add(changes.site, changes.bytes)
        self._bytes.add(changes.old_site, -changes.old_bytes)
        self._blocks.add(changes.site, changes.weight)  # who asked last has the block
        self._blocks.add(changes.old_site, -changes.old_weight)
        self._by_thread.add(changes.owner, changes.bytes - changes.old_bytes)
        if changes.rate:
            self._variance.add(changes.site, changes.variance)
            self._variance.add(changes.old_site, -changes.old_variance)
        self.x, self.live_bytes = int(changes.x[-1]), int(changes.live_bytes[-1])
        self.live_blocks = int(changes.live_blocks[-1])

    def moment(self) -> Moment:
        vectors = self._bytes.values(), self._blocks.values(), self._by_thread.values(), self._variance.fractions()
        return Moment(self.x, self.live_bytes, self.live_blocks, *vectors)


class Moments:
    """The moment with the most live bytes, the end, and one at a chosen time."""

    def __init__(self, at: int | None = None):
        self._live, self._at = Live(), at
        self.peak = self.chosen = self._live.moment()

    def add(self, changes: Changes) -> None:
        if not len(changes):
            return
        highest = int(changes.live_bytes.argmax())
        stops = {}
        if int(changes.live_bytes[highest]) > self.peak.live_bytes:
            stops["peak"] = highest
        if self._at is not None and changes.x[0] <= self._at:
            stops["chosen"] = int(np.searchsorted(changes.x, self._at, "right")) - 1
        done = 0
        for name, stop in sorted(stops.items(), key=lambda each: each[1]):
            self._live.add(changes[done : stop + 1])
            setattr(self, name, self._live.moment())
            done = stop + 1
        self._live.add(changes[done:])

    def end(self) -> Moment:
        return self._live.moment()


class Requests:
    """What each call stack asked for, over the whole run."""

    def __init__(self, others: int):
        self._others = others  # a block is temporary if its thread makes at most so many requests before it is freed
        self.count, self.bytes, self.variance, self.recorded = Vector(), Vector(), Vector(), 0
        self.temporary, self.temporary_bytes = Vector(), Vector()

    def add(self, changes: Changes) -> None:
        asked = changes.requests
        self.recorded += int(asked.sum())
        self.count.add(changes.site[asked], changes.weight[asked])
        self.bytes.add(changes.site[asked], changes.bytes[asked])
        if changes.rate:
            self.variance.add(changes.site[asked], changes.variance[asked])
            return  # between two requests of a sample there are others
        short = changes.dies & (changes.others <= self._others)
        self.temporary.add(changes.old_site[short], 1)
        self.temporary_bytes.add(changes.old_site[short], changes.old_size[short])


class Growth:
    """Reallocs, by who asked last. Whether one moved its block, a trace does not say: the old bytes are a limit."""

    def __init__(self) -> None:
        self.grows, self.shrinks, self.same = 0, 0, 0
        self.count, self.old_bytes, self.longest = Vector(), Vector(), Vector()

    def add(self, changes: Changes) -> None:
        if changes.rate:  # a block of a sample leaves it when it grows, in most cases
            return
        again = changes.held & changes.holds
        grows = changes.grows
        self.grows += int(grows.sum())
        self.shrinks += int((again & (changes.size < changes.old_size)).sum())
        self.same += int((again & (changes.size == changes.old_size)).sum())
        self.count.add(changes.site[grows], 1)
        self.old_bytes.add(changes.site[grows], changes.old_size[grows])
        self.longest.raise_to(changes.site[grows], changes.growths[grows].astype(np.int64))


@dataclass(frozen=True)
class Bar:
    """A row of a histogram: sizes or lifetimes up to 2^power, and above the half of it."""

    power: int
    count: int
    bytes: int


class Histogram:
    """Counts and bytes by the power of two that a value needs."""

    def __init__(self) -> None:
        self._count, self._bytes = Vector(), Vector()

    def add(self, values: I64, counts: F64 | I64, sizes: I64) -> None:
        powers = size_class(values)
        self._count.add(powers, counts)
        self._bytes.add(powers, sizes)

    def bars(self) -> list[Bar]:
        """The rows from the first that is not empty to the last."""
        counts, sizes = self._count.values(CLASSES).tolist(), self._bytes.values(CLASSES).tolist()
        used = [power for power in range(CLASSES) if counts[power]]
        return [Bar(p, counts[p], sizes[p]) for p in range(used[0], used[-1] + 1)] if used else []


class Sizes(Histogram):
    """The sizes of requests."""

    def add_changes(self, changes: Changes) -> None:
        asked = changes.requests
        self.add(changes.size[asked], changes.weight[asked], changes.bytes[asked])


class Lifetimes(Histogram):
    """How long freed blocks were live."""

    def add_changes(self, changes: Changes) -> None:
        dies = changes.dies
        self.add((changes.x - changes.born)[dies], changes.old_weight[dies], changes.old_bytes[dies])


class Threads:
    """What each thread asked for and freed."""

    def __init__(self) -> None:
        self.requests, self.bytes, self.frees, self.frees_of_others = Vector(), Vector(), Vector(), Vector()

    def add(self, changes: Changes) -> None:
        asked, dies = changes.requests, changes.dies
        others = dies & (changes.owner != changes.thread)
        self.requests.add(changes.thread[asked], changes.weight[asked])
        self.bytes.add(changes.thread[asked], changes.bytes[asked])
        self.frees.add(changes.thread[dies], changes.old_weight[dies])
        self.frees_of_others.add(changes.thread[others], changes.old_weight[others])
