"""The memory of a process or a core as a `Memory` for structs: loads alone, and no store ever.

A page is read once and kept until `forget`. Pages that are not there are not touched: those of a mapped file are taken
from the file, untouched anonymous ones are zero, and all others are unreadable.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from heapwright.bits import signed
from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent
from heapwright.live.mappings import Mapping
from heapwright.live.pages import PAGE
from heapwright.live.source import Source

SHIFT, WITHIN = 12, PAGE - 1
ADDRESSES = 1 << 47  # a process has no more
NOWHERE = Extent(0, 0, np.zeros(0, np.uint8), np.zeros(0, bool))


class Image:
    """What `heapwright.memory.Memory` asks for, over a source."""

    PAGE = PAGE
    MAX_SBRK = 1 << 62

    def __init__(self, source: Source, with_swapped: bool = False):
        self.source, self.with_swapped = source, with_swapped
        self._pages: dict[int, bytes] = {}
        self._extents: list[Extent] = []
        self._recent = NOWHERE  # the copy that was used last
        self.words = [0] * 8  # of the thread as which an allocator's functions run
        self.section = (0, 0, 0)  # what sbrk gave: its start, where its last section starts, its end

    # --- loads

    def load(self, address: int, size: int) -> int:
        copy = self._recent
        if size == 8 and copy.start <= address < copy.end and not address & 7 and copy.has(address):
            return copy.numbers[(address - copy.start) >> 3]
        page = self._pages.get(address >> SHIFT)
        if page is None:
            page = self._page(address >> SHIFT, address)
        at = address & WITHIN
        if at + size > PAGE:
            return int.from_bytes(self.bytes_at(address, size), "little", signed=size == 8)
        return int.from_bytes(page[at : at + size], "little", signed=size == 8)

    def word(self, address: int) -> int:
        """An unsigned word."""
        return self.load(address, 8) & (1 << 64) - 1

    def bytes_at(self, address: int, size: int) -> bytes:
        parts, place, end = [], address, address + size
        while place < end:
            stop = min(end, (place | WITHIN) + 1)
            page = self._pages.get(place >> SHIFT) or self._page(place >> SHIFT, place)
            parts.append(page[place & WITHIN : (place & WITHIN) + stop - place])
            place = stop
        return b"".join(parts)

    def text_at(self, address: int, maximum: int = 200) -> str:
        """The C string at an address, as far as it can be read; "" if it is no text."""
        data = b""
        while len(data) < maximum and b"\0" not in data:
            try:
                data += self.bytes_at(address + len(data), PAGE - (address + len(data) & WITHIN))
            except Unreadable:
                break
        text = data.split(b"\0")[0][:maximum].decode("utf-8", "replace")
        return text if text.isprintable() else ""

    def is_there(self, address: int) -> bool:
        try:
            self.load(address, 1)
        except Unreadable:
            return False
        return True

    # --- pages

    def adopt(self, extent: Extent) -> None:
        """From now on, read what this copy has from the copy."""
        first, last = extent.start >> SHIFT, extent.end >> SHIFT
        if last - first <= len(self._pages):
            for number in range(first, last):
                self._pages.pop(number, None)
        else:
            self._pages = {number: page for number, page in self._pages.items() if not first <= number < last}
        self._extents.append(extent)

    def forget(self) -> None:
        """Read everything anew, but for what was adopted."""
        self._pages.clear()

    def _page(self, number: int, address: int) -> bytes:
        page = self._copied(number << SHIFT) or self._read(number << SHIFT, address)
        self._pages[number] = page
        return page

    def _copied(self, start: int) -> bytes | None:
        for extent in self._extents:
            if extent.has(start):
                self._recent = extent
                return extent.data[start - extent.start : start - extent.start + PAGE].tobytes()
        return None

    def _read(self, start: int, address: int) -> bytes:
        mapping = self.source.mappings.at(start) if 0 <= start < ADDRESSES else None
        if mapping is None or not mapping.is_readable:
            raise Unreadable(address, "nothing is mapped there" if mapping is None else "it has no right to be read")
        pages = self.source.pages(start, start + PAGE)
        if pages.present[0] or (pages.swapped[0] and self.with_swapped):
            return self.source.read(start, PAGE)
        if pages.swapped[0]:
            raise Unreadable(address, "the page is swapped out")
        return self._absent(mapping, start, address)

    def _absent(self, mapping: Mapping, start: int, address: int) -> bytes:
        """A page without a frame: what it would read as."""
        if mapping.has_file:
            elf = self.source.file_of(mapping)
            offset = mapping.offset + start - mapping.start
            if elf is None:
                raise Unreadable(address, f"{mapping.path} cannot be opened")
            return bytes(elf.data[offset : offset + PAGE]).ljust(PAGE, b"\0")
        if self.source.knows_residency:
            return bytes(PAGE)
        raise Unreadable(address, "the core file does not have it")

    # --- the thread and the kernel, as far as `walk`, `check` and `lists` ask

    def local(self, slot: int) -> int:
        return signed(self.words[slot])

    def extent_start(self) -> int:
        return self.section[0]

    def piece_start(self) -> int:
        return self.section[1]

    def extent_end(self) -> int:
        return self.section[2]

    def thread_id(self) -> int:
        return 0

    def single_threaded(self) -> int:
        return 0

    def is_mapped(self, address: int) -> bool:
        return self.source.mappings.at(address) is not None

    def setting(self, option: int) -> int:
        """No option of mallopt: what the program was started with is in its heap by now."""
        return -1

    def nothing(self) -> int:
        """Stands for counts that only the program's own runtime keeps."""
        return 0

    held = peak_held = growths = shrinks = decommits = random = clock = nothing

    def fault(self, what: str, address: int, size: int = 0) -> NoReturn:
        """Called by an allocator for an address that it did not return."""
        raise Misuse(f"{what}: {address:#x}")

    # --- nothing is written

    def store(self, address: int, size: int, value: int) -> None:
        raise ReadOnly(f"a store of {size} bytes at {address:#x}: foreign memory is only read")

    def _refuse(self, *_: object) -> NoReturn:
        raise ReadOnly("foreign memory is only read")

    refuse: Any = _refuse
    load_tail = store_tail = exchange = compare_exchange = add = fill = copy = refuse
    sbrk = mmap = munmap = mremap = decommit = protect = set_local = wait = wake = relax = refuse
    spare_frames = drop_frames = save_frame = take_frame = alias_frame = part_frame = refuse
    stop_others = resume_others = refuse
    set_errno = record = record_anew = note_caller = call = call_with = refuse


class Misuse(Exception):
    """An allocator was asked about memory that is not its own."""


class ReadOnly(Exception):
    """Code that looks at a heap tried to change it."""
