"""The pages of one process: mapping them to frames, at once or on first touch, and releasing them."""

from __future__ import annotations

from typing import Any, Literal

from heapwright.machine.kernel import Kernel
from heapwright.machine.page_table import LAZY, RESERVED, PageTable, R, U, V, W
from heapwright.machine.shadow import Shadow

# A page that may be read and written: by the size of an access, its numbers of that size and their shadow codes.
# Those of 2 and 4 bytes are there only once they were needed.
Page = dict[int, tuple[Any, Any]]
FORMATS: dict[int, tuple[Literal["H", "I", "q"], Literal["H", "I", "Q"]]] = {
    2: ("H", "H"),
    4: ("I", "I"),
    8: ("q", "Q"),
}


class Pages:
    """The mapped pages of the process `owner`, and the owner of each byte."""

    def __init__(self, kernel: Kernel, owner: int):
        self.kernel, self.frames, self.owner = kernel, kernel.frames, owner
        self.page = kernel.page
        self.trapframe = kernel.maxva - 2 * self.page
        self.table = PageTable(self.frames, owner)
        self.shadow = Shadow(self.page)
        self.pages: dict[int, Page] = {}  # the translations in use, by page number: the TLB

    def round_up(self, size: int) -> int:
        """Round a size up to whole pages."""
        return -(-size // self.page) * self.page

    # --- mapping

    def _map_range(self, first: int, last: int, flags: int) -> bool:
        """Map all pages of a range to new zeroed frames, or none of them (uvmalloc)."""
        for address in range(first, last, self.page):
            if not self._map_new(address, flags):
                self._roll_back(first, address)
                return False
        return True

    def _roll_back(self, first: int, last: int) -> None:
        """Undo the part of a failed growth that was done."""
        self._release(first, last)

    def _map_new(self, address: int, flags: int) -> bool:
        frame = self.frames.take(self.owner)
        if not frame:
            return False
        self.frames.zero(frame)
        if self.table.map(address, frame, flags):
            return True
        self.frames.give(frame)
        return False

    def _map_lazily(self, first: int, last: int, flags: int) -> bool:
        for start, end in self.table.runs(first, last):
            if not self.table.map_lazily(start, flags, (end - start) // self.page):
                for mapped in range(first, start, self.page):
                    self.table.unmap(mapped)
                return False
        return True

    # --- releasing

    def _release(self, first: int, last: int) -> bool:
        """Unmap pages and free their frames; skip missing pages (uvmunmap)."""
        for address in range(first, last, self.page):
            if self.table.entry(address):
                self._release_page(address)
        return True

    def _release_mapped(self, first: int, last: int) -> None:
        """Unmap pages that are all mapped; those that nobody touched go many at a time."""
        while first < last:
            entry = self.table.entry(first)
            if entry & V or not entry:
                self._release_page(first)
                first += self.page
            else:
                count = self.table.unmap_alike(first, last, entry)
                self.frames.unreserve(count if entry & RESERVED else 0)
                self.shadow.drop(first // self.page, count)
                first += count * self.page

    def _release_page(self, address: int) -> None:
        entry = self.table.unmap(address)
        if entry & V:
            self.frames.leave(self.table.frame_of(entry), self.owner)
        elif entry & RESERVED:
            self.frames.unreserve(1)
        self._forget(address)

    def _forget(self, address: int) -> None:
        number = address // self.page
        self.pages.pop(number, None)
        self.shadow.drop(number)

    # --- touching pages

    def reach(self, number: int) -> Page | None:
        """The contents and owners of a page, if a program may read and write it; else None."""
        page = self.pages.get(number)
        if page is not None:
            return page
        address = number * self.page
        if number < 0 or address >= self.trapframe:
            return None
        entry = self._touch(address)
        if entry & (V | R | W | U) != V | R | W | U:
            return None
        data, codes = self.frames.bytes_of(self.table.frame_of(entry)), self.shadow.own_page(number)
        page = self.pages[number] = {1: (data, codes)}
        add_numbers(page, 8)
        return page

    def _touch(self, address: int) -> int:
        """The entry of a page; a lazy page gets its frame now (vmfault in xv6 kernel/vm.c)."""
        entry = self.table.entry(address)
        if entry & LAZY and entry & U:
            frame = self.frames.take_reserved(self.owner) if entry & RESERVED else self.frames.take(self.owner)
            if not frame:
                return 0
            self.frames.zero(frame)
            self.table.back(address, frame)
        return self.table.entry(address)

    def frame_at(self, address: int) -> int:
        """The frame of a mapped page, which it gets now if nobody has touched it; 0 if there is none."""
        return self.table.frame_of(self._touch(address))

    def lead(self, address: int, frame: int) -> None:
        """Let a page that has a frame lead to another one."""
        old = self.frame_at(address)
        self.table.back(address, frame)
        self.frames.leave(old, self.owner)
        self.pages.pop(address // self.page, None)

    def meet_unmapped(self, address: int) -> None:
        """Handle an access to an address without a page: the process ends, and the kernel goes on."""


def add_numbers(page: Page, size: int) -> None:
    """Let a page have its numbers of one more size."""
    numbers, codes = FORMATS[size]
    page[size] = memoryview(page[1][0]).cast(numbers), memoryview(page[1][1]).cast(codes)
