"""Where the mapped areas lie: disjoint ranges of pages below the kernel's two, each from one `mmap`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator


class Areas:
    """The areas in address order, placed from the top down. Addresses and sizes are in bytes, whole pages."""

    def __init__(self, top: int):
        self.top = top
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._owners: list[int] = []  # who asked for each: ALLOCATOR or USER
        self._bytes: dict[int, int] = {}  # owner -> size of all its areas

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    def of(self, owner: int) -> list[tuple[int, int]]:
        """The areas that the allocator, or the user's program, asked for."""
        return [area for area, its_owner in zip(self, self._owners, strict=True) if its_owner == owner]

    def size_of(self, owner: int) -> int:
        """The bytes in all areas of an owner."""
        return self._bytes.get(owner, 0)

    def _count(self, owner: int, more: int) -> None:
        self._bytes[owner] = self._bytes.get(owner, 0) + more

    @property
    def bottom(self) -> int:
        return self._starts[0] if self._starts else self.top

    def place(self, size: int, floor: int) -> int:
        """The highest gap above `floor` that has room; 0 if there is none."""
        above = self.top
        for i in range(len(self._starts) - 1, -1, -1):
            if above - self._ends[i] >= size:
                return above - size
            above = self._starts[i]
        return above - size if above - floor >= size else 0

    def find(self, address: int) -> tuple[int, int] | None:
        """The area that holds an address."""
        i = bisect_right(self._starts, address) - 1
        return (self._starts[i], self._ends[i]) if i >= 0 and address < self._ends[i] else None

    def room_above(self, end: int) -> int:
        """The bytes between the end of an area and the next one."""
        i = bisect_right(self._starts, end - 1)
        return (self._starts[i] if i < len(self._starts) else self.top) - end

    def add(self, start: int, end: int, owner: int) -> None:
        i = bisect_right(self._starts, start)
        self._starts.insert(i, start)
        self._ends.insert(i, end)
        self._owners.insert(i, owner)
        self._count(owner, end - start)

    def extend(self, start: int, end: int) -> None:
        i = bisect_right(self._starts, start) - 1
        self._count(self._owners[i], end - self._ends[i])
        self._ends[i] = end

    def inside(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of areas that lie in a range."""
        i = max(0, bisect_right(self._starts, start) - 1)
        parts = []
        while i < len(self._starts) and self._starts[i] < end:
            if self._ends[i] > start:
                parts.append((max(start, self._starts[i]), min(end, self._ends[i])))
            i += 1
        return parts

    def cut(self, start: int, end: int) -> None:
        """Take a part, as `inside` gives it, out of its area."""
        i = bisect_right(self._starts, start) - 1
        first, last, owner = self._starts.pop(i), self._ends.pop(i), self._owners.pop(i)
        self._count(owner, first - last)
        for piece in ((first, start), (end, last)):
            if piece[0] < piece[1]:
                self.add(*piece, owner)

    def copy(self) -> Areas:
        twin = Areas(self.top)
        twin._starts, twin._ends, twin._owners = list(self._starts), list(self._ends), list(self._owners)
        twin._bytes = dict(self._bytes)
        return twin
