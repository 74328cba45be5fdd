"""The Sv39 page table of one process: three levels of frames that hold page table entries.

As xv6 kernel/riscv.h and kernel/vm.c. An entry, 8 bytes:

      63      54 53                        10 9   8 7 6 5 4 3 2 1 0
     +----------+----------------------------+-----+-+-+-+-+-+-+-+-+
     |    0     | physical address / 4096    | soft|D|A|G|U|X|W|R|V|
     +----------+----------------------------+-----+-+-+-+-+-+-+-+-+

An entry without R, W and X points to the next level. The two bits left to software mark a page that has no frame yet:
LAZY (the page gets a zeroed frame when it is touched) and RESERVED (that frame is promised). With pages of 16 or 64 KiB
each level has more entries; the rest is the same.

Unlike in xv6, a level without entries is freed at once, so that a failed call leaves the number of frames unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

from heapwright.machine.frames import Frames, KernelPanic

V, R, W, X, U = 1, 2, 4, 8, 16
LAZY, RESERVED = 1 << 8, 1 << 9
FLAGS = 0x3FF
LEVELS = 3


class PageTable:
    """Maps pages to frames for the process `owner`. Addresses are virtual, in bytes."""

    def __init__(self, frames: Frames, owner: int):
        self.frames, self.owner = frames, owner
        self.shift = frames.page.bit_length() - 1
        self.bits = self.shift - 3  # bits of the index into one level
        self.used: dict[int, int] = {}  # node frame -> the number of its entries that are not 0
        self._words: dict[int, memoryview] = {}
        self._leaves: dict[int, int] = {}  # the nodes of the last level, by their addresses without the lowest bits
        self._reach = self.shift + self.bits  # bits of an address that one of them decides
        self.root = self._new_node()
        if not self.root:
            raise MemoryError("there is no frame for a page table")

    def index(self, level: int, address: int) -> int:
        return (address >> (self.shift + self.bits * level)) & ((1 << self.bits) - 1)

    def entry(self, address: int) -> int:
        """The leaf entry of an address, 0 if it has none."""
        node = self._leaves.get(address >> self._reach)
        return self._words[node][self.index(0, address)] if node else 0

    def translate(self, address: int) -> int:
        """The physical address, or 0 if the page has no frame (walkaddr in xv6 kernel/vm.c)."""
        entry = self.entry(address)
        return self._target(entry) + (address & (self.frames.page - 1)) if entry & V else 0

    def map(self, address: int, frame: int, flags: int) -> bool:
        """Map one page to a frame; return False if there is no frame for a level."""
        return self._set(address, frame >> 12 << 10 | flags | V)

    def map_lazily(self, address: int, flags: int, count: int = 1) -> bool:
        """Map pages of one run that get their frames when they are touched."""
        return self._set(address, flags | LAZY, count)

    def runs(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The parts of a range whose entries lie in one node."""
        while first < last:
            end = min(last, ((first >> self._reach) + 1) << self._reach)
            yield first, end
            first = end

    def back(self, address: int, frame: int) -> None:
        """Give a lazy page its frame."""
        words, index = self._words[self._leaves[address >> self._reach]], self.index(0, address)
        words[index] = frame >> 12 << 10 | words[index] & FLAGS & ~(LAZY | RESERVED) | V

    def change_flags(self, address: int, set_bits: int, clear_bits: int) -> None:
        """Set and clear flags of a page, as uvmclear in xv6 kernel/vm.c does for the page below the stack."""
        words, index = self._words[self._leaves[address >> self._reach]], self.index(0, address)
        words[index] = words[index] & ~clear_bits | set_bits

    def unmap(self, address: int) -> int:
        """Remove a page, free the levels that become empty, and return the page's entry."""
        entry = self.entry(address)
        if entry == 0:
            raise KernelPanic("uvmunmap: not mapped")
        self._clear(address, 1)
        return entry

    def unmap_alike(self, address: int, last: int, entry: int) -> int:
        """Remove a page with this entry and those behind it, up to one with another; return their number."""
        words, first = self._words[self._leaves[address >> self._reach]], self.index(0, address)
        entries = words[first : first + (last - address >> self.shift)].tolist()
        count = next((number for number, other in enumerate(entries) if other != entry), len(entries))
        self._clear(address, count)
        return count

    def frame_of(self, entry: int) -> int:
        """The frame of a leaf entry, 0 if it has none."""
        return self._target(entry) if entry & V else 0

    def pages(self) -> Iterator[tuple[int, int]]:
        """Each mapped page as (address, entry), in address order."""
        yield from self._pages(self.root, 2, 0)

    def nodes(self) -> set[int]:
        """The frames that hold the table itself."""
        return set(self.used)

    def free(self) -> None:
        """Free the levels; all pages must be unmapped already (freewalk in xv6 kernel/vm.c)."""
        if self.used != {self.root: 0}:
            raise KernelPanic("freewalk: leaf")
        self._free_node(self.root)
        self.root = 0

    def _set(self, address: int, entry: int, count: int = 1) -> bool:
        """Fill a run of entries; return False if there is no frame for a level."""
        node = self._leaves.get(address >> self._reach) or self._extend(self._path(address), address)
        if not node:
            return False
        words, first = self._words[node], self.index(0, address)
        if words[first : first + count].tobytes().strip(b"\0"):
            raise KernelPanic("mappages: remap")
        words[first : first + count] = repeated(entry, count)
        self.used[node] += count
        return True

    def _extend(self, path: list[int], address: int) -> int:
        """Add the missing levels to a path and return the last; without enough frames, add nothing and return 0."""
        fresh: list[int] = []
        for _ in range(LEVELS - len(path)):
            fresh.append(self._new_node())
            if not fresh[-1]:
                for node in fresh[:-1]:
                    self._free_node(node)
                return 0
        for node in fresh:
            level = LEVELS - len(path)
            self._words[path[-1]][self.index(level, address)] = node >> 12 << 10 | V
            self.used[path[-1]] += 1
            path.append(node)
        self._leaves[address >> self._reach] = path[-1]
        return path[-1]

    def _clear(self, address: int, count: int) -> None:
        """Empty a run of entries, and free the levels that become empty."""
        node, first = self._leaves[address >> self._reach], self.index(0, address)
        self._words[node][first : first + count] = repeated(0, count)
        self.used[node] -= count
        if not self.used[node]:
            self._prune(address)

    def _prune(self, address: int) -> None:
        """Free the empty levels that lead to an address."""
        path = self._path(address)
        del self._leaves[address >> self._reach]
        for level, (node, above) in enumerate(zip(path[:0:-1], path[-2::-1], strict=True), 1):
            if self.used[node]:
                break
            self._free_node(node)
            self._words[above][self.index(level, address)] = 0
            self.used[above] -= 1

    def _path(self, address: int) -> list[int]:
        """The existing nodes on the path to an address."""
        path = [self.root]
        for level in (2, 1):
            entry = self._words[path[-1]][self.index(level, address)]
            if entry == 0:
                break
            path.append(self._target(entry))
        return path

    def _pages(self, node: int, level: int, base: int) -> Iterator[tuple[int, int]]:
        for index, entry in enumerate(self._words[node]):
            if entry:
                address = base + (index << (self.shift + self.bits * level))
                if level == 0:
                    yield address, entry
                else:
                    yield from self._pages(self._target(entry), level - 1, address)

    def _target(self, entry: int) -> int:
        return entry >> 10 << 12

    def _new_node(self) -> int:
        frame = self.frames.take(self.owner)
        if frame:
            self.frames.zero(frame)
            self.used[frame] = 0
            self._words[frame] = memoryview(self.frames.bytes_of(frame)).cast("Q")
        return frame

    def _free_node(self, node: int) -> None:
        del self.used[node], self._words[node]
        self.frames.give(node)


def repeated(entry: int, count: int) -> memoryview:
    return memoryview(entry.to_bytes(8, "little") * count).cast("Q")
