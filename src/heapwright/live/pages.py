"""Resident and swapped pages, according to /proc/PID/pagemap.

Source: Linux, Documentation/admin-guide/mm/pagemap.rst. There is one word per page: bit 63 means present, bit 62
swapped. A page that was read before it was written maps the kernel's zero page. It is present, but not part of the
resident set. The PAGEMAP_SCAN call (Linux 6.7) reports such pages; without it they count as resident. A guard page made
by madvise (Linux 6.13; glibc 2.42 guards thread stacks with it) has the bit of swapped pages and, since 6.15, bit 58.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.structs import Range, Scan
from heapwright.memory import BufferMemory

PAGE = 4096
ENTRY = 8  # bytes of pagemap for each page
PRESENT, SWAPPED, OF_FILE, GUARD, EXCLUSIVE = 63, 62, 61, 58, 56
WINDOW = 1 << 21  # entries read at a time: 16 MiB of them
PAGEMAP_SCAN = 0xC0606610
ZERO_PAGE = 1 << 5
RANGES = 4096

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Pages(NamedTuple):
    """The pages of a range, in order: whether each is resident, and whether it is swapped out."""

    present: Bools
    swapped: Bools


def read_pages(pagemap: int, start: int, end: int) -> Pages:
    """The pages of [start, end), from an open pagemap."""
    count = (end - start) // PAGE
    present, swapped = np.zeros(count, bool), np.zeros(count, bool)
    for first, entries in entries_of(pagemap, start, count):
        present[first : first + len(entries)] = entries >> PRESENT & 1
        swapped[first : first + len(entries)] = (entries >> SWAPPED & 1) & ~(entries >> GUARD)
    return Pages(present, swapped)


def entries_of(pagemap: int, start: int, count: int) -> Iterator[tuple[int, Any]]:
    """The words of `count` pages from `start` on, some at a time, with the number of the first."""
    for first in range(0, count, WINDOW):
        size = min(WINDOW, count - first)
        data = os.pread(pagemap, size * ENTRY, (start // PAGE + first) * ENTRY)
        yield first, np.frombuffer(data, "<u8")


def shared_pages(pagemap: int, start: int, end: int) -> Bools:
    """Which pages of [start, end) are anonymous and another process's too."""
    shared = np.zeros((end - start) // PAGE, bool)
    for first, entries in entries_of(pagemap, start, len(shared)):
        shared[first : first + len(entries)] = (entries >> PRESENT & 1) & ~(entries >> EXCLUSIVE | entries >> OF_FILE)
    return shared


def without_zero_pages(pagemap: int, start: int, pages: Pages) -> Pages:
    """The same pages, without the kernel's zero page among the resident ones."""
    present = pages.present.copy()
    for first, last in zero_pages(pagemap, start, start + len(present) * PAGE):
        present[(first - start) // PAGE : (last - start) // PAGE] = False
    return Pages(present, pages.swapped)


def zero_pages(pagemap: int, start: int, end: int) -> list[tuple[int, int]]:
    """The runs of zero pages; none if the kernel does not report them."""
    found: list[tuple[int, int]] = []
    while start < end:
        ranges, start = scan(pagemap, start, end)
        found += ranges
    return found


def scan(pagemap: int, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
    """Some runs of zero pages from `start` on, and the address at which to continue."""
    table = np.zeros(RANGES * Range.SIZE, np.uint8)
    data = bytearray(Scan.SIZE)
    memory: Any = BufferMemory(data)
    call = Scan(memory, 0)
    call.size, call.start, call.end = Scan.SIZE, start, end
    call.ranges, call.range_count = table.ctypes.data, RANGES
    call.mask = call.returned = ZERO_PAGE
    try:
        count = fcntl.ioctl(pagemap, PAGEMAP_SCAN, data, True)
    except OSError:
        return [], end
    runs = table[: count * Range.SIZE].view("<u8").reshape(count, 3)
    return [(int(first), int(last)) for first, last, _ in runs], max(call.walk_end, start + PAGE)
