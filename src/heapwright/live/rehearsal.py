"""What a heap of ours would give back: its own `trim`, executed over a copy that nobody else sees.

The allocator's functions run as in any world. What they store stays in pages of the rehearsal; what they give to the
kernel is noted, and how much of it is resident is what the program would shrink by. What they take from the kernel
instead, for a smaller table, is memory of the rehearsal. The caller is the program's first thread: what it caches,
`trim` gives back too.
"""

from __future__ import annotations

from typing import Any, NoReturn

from heapwright.bits import align_down, align_up, signed
from heapwright.live.memory import NOWHERE, SHIFT, WITHIN, Image, Misuse
from heapwright.live.pages import PAGE

ZEROS = bytes(PAGE)
THREAD = 1 << 40  # no process has a thread with this number
FRESH = 1 << 46  # where the rehearsal's own mappings begin, far from those of a program
MAX_MAPPING = 1 << 30
RELAXED = 100_000  # spins after which a lock is held for good
WORD = (1 << 64) - 1


class Rehearsal(Image):
    """The memory of an image for an allocator that stores; `given` are the ranges of pages that it gave back."""

    def __init__(self, image: Image):
        super().__init__(image.source, image.with_swapped)
        self._extents = image._extents
        self.section = image.section
        self.words = list(image.words)
        self.given: list[tuple[int, int]] = []
        self._fresh_end = FRESH
        self._spins = 0
        start, _, top = self.section
        heap = self.source.mappings.at(top - 1) if start else None
        self._has_break = heap is not None and heap.end == align_up(top, PAGE)  # else somebody else moved it

    def _copied(self, start: int) -> bytes | None:
        page = super()._copied(start)
        self._recent = NOWHERE  # no load may pass by the pages that were written
        return page

    # --- stores

    def store(self, address: int, size: int, value: int) -> None:
        for at, byte in enumerate((value & (1 << 8 * size) - 1).to_bytes(size, "little")):
            self._writable(address + at)[address + at & WITHIN] = byte

    def _writable(self, address: int) -> bytearray:
        number = address >> SHIFT
        page: Any = self._pages.get(number) or self._page(number, address)
        if not isinstance(page, bytearray):
            page = bytearray(page)
            self._pages[number] = page
        return page

    def fill(self, address: int, size: int, byte: int) -> None:
        self._put(address, bytes([byte]) * size)

    def copy(self, target: int, source: int, size: int) -> None:
        self._put(target, self.bytes_at(source, size))

    def _put(self, address: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            at = address + done & WITHIN
            count = min(PAGE - at, len(data) - done)
            self._writable(address + done)[at : at + count] = data[done : done + count]
            done += count

    # --- atomics, and the thread

    def exchange(self, address: int, value: int) -> int:
        old = self.load(address, 8)
        self.store(address, 8, value)
        return old

    def compare_exchange(self, address: int, expected: int, value: int) -> bool:
        is_expected = self.load(address, 8) == expected
        if is_expected:
            self.store(address, 8, value)
        return is_expected

    def add(self, address: int, value: int) -> int:
        old = self.load(address, 8)
        self.store(address, 8, signed(old + value & WORD))
        return old

    def set_local(self, slot: int, value: int) -> None:
        self.words[slot] = value

    def thread_id(self) -> int:
        return THREAD

    def relax(self) -> None:
        self._spins += 1
        if self._spins > RELAXED:
            raise Misuse("a lock is held")

    def wait(self, address: int, value: int) -> NoReturn:
        raise Misuse(f"the lock at {address:#x} is held")

    def wake(self, address: int) -> None:
        """Nobody sleeps here."""

    # --- the kernel

    def sbrk(self, n: int) -> int:
        start, section, top = self.section
        if n == 0 and self._has_break:
            return top
        if n >= 0 or not self._has_break or top + n < section:
            return -1
        self._give(align_up(top + n, PAGE), align_up(top, PAGE))
        self.section = (start, section, top + n)
        return top

    def mmap(self, size: int) -> int:
        if size > MAX_MAPPING:
            return -1
        start, self._fresh_end = self._fresh_end, self._fresh_end + align_up(size, PAGE)
        for number in range(start >> SHIFT, self._fresh_end >> SHIFT):
            self._pages[number] = ZEROS
        return start

    @property
    def taken(self) -> int:
        """The bytes of pages of mappings of its own that it wrote."""
        pages: Any = (self._pages.get(number) for number in range(FRESH >> SHIFT, self._fresh_end >> SHIFT))
        return PAGE * sum(isinstance(page, bytearray) for page in pages)

    def munmap(self, address: int, size: int) -> int:
        self._give(address, address + align_up(size, PAGE))
        return 0

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int) -> int:
        if new_size > old_size:
            return -1
        self._give(address + align_up(new_size, PAGE), address + align_up(old_size, PAGE))
        return address

    def decommit(self, address: int, size: int) -> int:
        self._give(align_up(address, PAGE), align_down(address + size, PAGE))
        return 0

    def is_mapped(self, address: int) -> bool:
        if FRESH <= address < self._fresh_end:
            return True
        return super().is_mapped(address) and not any(start <= address < end for start, end in self.given)

    def _give(self, start: int, end: int) -> None:
        if start < end and not FRESH <= start < self._fresh_end:
            self.given.append((start, end))
        for number in range(start >> SHIFT, end >> SHIFT):
            self._pages[number] = ZEROS

    def set_errno(self, number: int) -> None:
        """Nobody reads it."""
