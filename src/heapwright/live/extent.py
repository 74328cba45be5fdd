"""An extent of foreign memory as arrays: its bytes, and which of its pages are resident or swapped.

A copy is taken while the process stands still and looked at afterwards. Pages that are not resident read as zero; the
copy has no frames for them either.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from heapwright.live.pages import PAGE
from heapwright.live.source import Octets, Source

HUGE = 2 << 20
DENSE = 0.9  # share of the pages that are read, from which on huge frames are no waste

Numbers = np.ndarray[Any, np.dtype[np.int64]]

Release = Callable[[int, int], None]


class Extent:
    """The pages of [start, end): `data` are its bytes, `words` the same as 64-bit numbers.

    `got` marks the pages whose bytes are here. `present` and `swapped` are None where nobody can know.
    """

    def __init__(
        self,
        start: int,
        end: int,
        data: Octets,
        got: Any,
        present: Any = None,
        swapped: Any = None,
        release: Release | None = None,
    ):
        self.start, self.end, self.data, self.got = start, end, data, got
        self._release = release
        self.present, self.swapped = present, swapped
        self.words = data.view("<u8")
        buffer: Any = data
        self.numbers = memoryview(buffer).cast("q")  # the same, signed, and quicker to read one by one
        self._sums: dict[str, tuple[Numbers, Numbers]] = {}

    @property
    def size(self) -> int:
        return self.end - self.start

    def resident_in(self, starts: Any, ends: Any) -> Any:
        """The resident bytes of each of many ranges."""
        return self._bytes_in("present", starts, ends)

    def swapped_in(self, starts: Any, ends: Any) -> Any:
        return self._bytes_in("swapped", starts, ends)

    def _bytes_in(self, kind: str, starts: Any, ends: Any) -> Any:
        flags = getattr(self, kind)
        if flags is None:
            return np.zeros(np.shape(starts), np.int64)
        below, marked = self._below(kind, flags)
        if below[-1] == 0:
            return np.zeros(np.shape(starts), np.int64)
        if below[-1] == self.size:
            return np.subtract(ends, starts)
        return self._up_to(below, marked, ends) - self._up_to(below, marked, starts)

    def _below(self, kind: str, flags: Any) -> tuple[Numbers, Numbers]:
        """For each page, the bytes of marked pages below it; and 1 for a marked page, 0 for another."""
        if kind not in self._sums:
            marked = np.append(flags, False).astype(np.int64)
            self._sums[kind] = np.concatenate(([0], np.cumsum(marked[:-1]) * PAGE)), marked
        return self._sums[kind]

    def _up_to(self, below: Numbers, marked: Numbers, addresses: Any) -> Numbers:
        """The bytes of marked pages below each address."""
        offsets = np.asarray(addresses, np.int64) - self.start
        pages = offsets >> PAGE.bit_length() - 1
        found: Numbers = below[pages] + marked[pages] * (offsets & PAGE - 1)
        return found

    def done_with(self, start: int, end: int) -> None:
        """Let go of the pages of a range that lie in a file: they are read again where they are needed."""
        if self._release and end > start:
            self._release(start, end)

    def has(self, address: int) -> bool:
        """Whether the page of an address is here."""
        return self.start <= address < self.end and bool(self.got[(address - self.start) // PAGE])

    def part(self, start: int, end: int) -> Extent:
        """Some pages of the extent, over the same bytes."""
        own = slice(start - self.start, end - self.start)
        pages = slice(own.start // PAGE, own.stop // PAGE)
        present, swapped = (None if flags is None else flags[pages] for flags in (self.present, self.swapped))
        return Extent(start, end, self.data[own], self.got[pages], present, swapped, self._release)

    def words_at(self, addresses: Any) -> Any:
        """The words at many addresses, all within the extent."""
        return self.words[(np.asarray(addresses, np.int64) - self.start) >> 3]

    def word(self, address: int) -> int:
        return int(self.words[(address - self.start) >> 3])


def copy_of(source: Source, start: int, end: int, with_swapped: bool = False) -> Extent:
    """The extent as it is now; swapped pages are read only if asked, for that brings them back."""
    window = source.window(start, end)
    if window is not None:
        return Extent(start, end, window, np.ones((end - start) // PAGE, bool), release=source.release)
    pages = source.pages(start, end)
    wanted = pages.present | pages.swapped if with_swapped else pages.present
    data = zeros(end - start, bool(wanted.mean() >= DENSE))
    got = source.fill(data, start, wanted)
    if not source.knows_residency:
        return Extent(start, end, data, got)
    return Extent(start, end, data, got, pages.present, pages.swapped)


def outline_of(source: Source, start: int, end: int) -> Extent:
    """The pages of an extent without their bytes: which are resident, where that is known."""
    nothing: Octets = np.zeros(0, np.uint8)
    if not source.knows_residency:
        return Extent(start, end, nothing, None)
    pages = source.pages(start, end)
    return Extent(start, end, nothing, None, pages.present, pages.swapped)


def zeros(size: int, is_dense: bool = False) -> Octets:
    """Zeroed bytes, of which only those that are written get frames: huge ones where most will be."""
    memory = mmap.mmap(-1, max(size, PAGE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if is_dense and size >= HUGE:
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, size)


def joined(parts: list[Any]) -> Any:
    """The arrays of a list as one. Each is dropped once it is copied, so that they do not take their memory twice."""
    whole = np.empty(sum(map(len, parts)), parts[0].dtype)
    place = 0
    while parts:
        part = parts.pop(0)
        whole[place : place + len(part)] = part
        place += len(part)
    return whole
