"""Follow a replay: where each block lies, which pages are resident, and the largest hole, at many stops.

Residency is the kernel's word (/proc/PID/pagemap), so it is known for any malloc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from heapwright.lab.addresses import CAPACITY, Follower, followed
from heapwright.lab.flat_file import functions_of
from heapwright.live.pages import PAGE
from heapwright.live.process import Process
from heapwright.maps.placements import Placements, Tenants
from heapwright.maps.raster import Raster
from heapwright.traces.arrays import I64, np
from heapwright.traces.events import REALLOC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heapwright.lab.contestant import Contestant
    from heapwright.traces.flat import Flat

STOPS = 160  # moments at which the replaying process is looked at
MAX_KEPT = 200_000  # placements that a map has singly


class Hole(NamedTuple):
    """Free memory between two live blocks at one moment."""

    size: int
    start: int
    resident: int  # bytes
    event: int  # the number of events done


class Failure(NamedTuple):
    """A request that the malloc refused."""

    event: int
    size: int


@dataclass
class HeapMap:
    """One malloc's heap over one trace."""

    name: str
    raster: Raster
    kept: Placements  # the largest, by their start
    placements: int  # all of them
    stops: list[int]  # events done
    resident: NDArray[Any]  # bytes, for each row and stop
    touched: list[int]  # bytes of the pages in which blocks have lain, for each stop
    hole: Hole | None  # the largest
    failures: list[Failure] = field(default_factory=list)

    @property
    def resident_bytes(self) -> list[int]:
        """All resident bytes at each stop."""
        found: list[int] = self.resident.sum(axis=0).tolist()
        return found


def heap_map(
    flat: Flat, sites: Any, contestant: Contestant, progress: Callable[[str], None] = lambda line: None
) -> HeapMap:
    """The map of a replay of a whole process's events. `sites` has the call stack of each event.

    Raises RunError if the replaying process crashes or hangs.
    """
    follow = Follow(contestant.name, flat.slots, len(flat))
    stops = stops_of(len(flat), flat.peak)
    with followed(contestant, flat.slots, functions_of(flat.records)) as follower:
        for first, end in windows_between(stops):
            follow.take(flat.records[first:end], follower.do(flat.records[first:end]), sites[first:end])
            if end in stops:
                progress(f"{contestant.name}: map, {end:,} of {len(flat):,} events")
                follow.stop(follower, end)
    return follow.finish()


def stops_of(events: int, peak: int) -> list[int]:
    """The numbers of events after which to stop: equal steps, the peak and the end."""
    steps = {events * number // STOPS for number in range(1, STOPS + 1)}
    return sorted((steps | {peak}) - {0})


def windows_between(stops: list[int]) -> Iterator[tuple[int, int]]:
    """The first and the last event of each window: none contains a stop."""
    first = 0
    for stop in stops:
        while first < stop:
            end = min(stop, first + CAPACITY)
            yield first, end
            first = end


class Follow:
    """What is known so far."""

    def __init__(self, name: str, slots: int, events: int):
        self.name = name
        self.tenants, self.raster = Tenants(slots), Raster(events)
        self.kept, self.placements, self.done = Placements.join([]), 0, 0
        self.pages: I64 = np.zeros(0, np.int64)  # in which blocks have lain
        self.stops: list[tuple[int, int, I64, I64]] = []  # events, shift, chunks, and the resident bytes of each
        self.touched: list[int] = []
        self.hole: Hole | None = None
        self.failures: list[Failure] = []

    def take(self, records: NDArray[Any], addresses: I64, sites: Any) -> None:
        """Take the next events and the address of each one's block."""
        refused = np.flatnonzero((records["op"] <= REALLOC) & (addresses == 0))
        self.failures += [Failure(self.done + each, int(records["size"][each])) for each in refused.tolist()]
        self._add(self.tenants.advance(records, addresses, sites))
        self.raster.use(self.tenants.live)
        self.done += len(records)

    def _add(self, ended: Placements) -> None:
        self.raster.add(ended)
        self.placements += len(ended)
        self.kept = Placements.join([self.kept, ended])
        if len(self.kept) > 2 * MAX_KEPT:
            self.kept = self.kept.largest(MAX_KEPT)

    def stop(self, follower: Follower, event: int) -> None:
        """Look at the process, which stands still."""
        process = Process(follower.pid)
        try:
            extents = [(start, process.pages(start, end).present) for start, end in self._extents()]
        finally:
            process.close()
        shift, chunks = self.raster.shift, self.raster.chunks
        pages = np.concatenate([np.zeros(0, bool), *(present for _, present in extents)])
        resident = pages.reshape(len(chunks), -1).sum(axis=1) * PAGE
        self.stops.append((event, shift, chunks, resident))
        self.touched.append(len(chunks) << shift)
        hole = largest_hole(self.tenants.live, extents, event)
        if hole and (self.hole is None or hole.size > self.hole.size):
            self.hole = hole

    def _extents(self) -> Iterator[tuple[int, int]]:
        """The runs of chunks without a gap, as ranges of addresses."""
        chunks, shift = self.raster.chunks, self.raster.shift
        starts = np.flatnonzero(np.diff(chunks, prepend=-2) != 1)
        for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(chunks)], strict=True):
            yield int(chunks[first]) << shift, int(chunks[end - 1] + 1) << shift

    def finish(self) -> HeapMap:
        """The map, when all events are taken."""
        self._add(self.tenants.finish())
        resident = np.zeros((len(self.raster), len(self.stops)), np.int64)
        for column, (_, shift, chunks, found) in enumerate(self.stops):
            np.add.at(resident[:, column], self.raster.row_of(chunks >> self.raster.shift - shift), found)
        return HeapMap(
            self.name, self.raster, self.kept.largest(MAX_KEPT), self.placements,
            [event for event, *_ in self.stops], resident, self.touched, self.hole, self.failures,
        )  # fmt: skip


def largest_hole(live: Placements, extents: list[tuple[int, Any]], event: int) -> Hole | None:
    """The largest free range between two live blocks of one extent."""
    best: Hole | None = None
    for start, present in extents:
        inside = live[slice(*np.searchsorted(live.address, (start, start + len(present) * PAGE)))]
        ends = inside.address + np.maximum(inside.size, 1)
        gaps = inside.address[1:] - ends[:-1]
        if len(gaps) and int(gaps.max()) > (best.size if best else 0):
            place, size = int(ends[gaps.argmax()]), int(gaps.max())
            best = Hole(size, place, resident_in(start, present, place, place + size), event)
    return best


def resident_in(start: int, present: Any, first: int, end: int) -> int:
    """The bytes of whole resident pages from one address to another, of an extent that begins at `start`."""
    return int(present[-(-(first - start) // PAGE) : (end - start) // PAGE].sum()) * PAGE
