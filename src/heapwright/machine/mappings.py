"""The places of a process's mappings: disjoint ranges of pages below the kernel's two."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator


class Mappings:
    """The mappings in address order, placed from the top down. Addresses and sizes are in bytes, whole pages.

    With `merges`, mappings of one owner that touch are joined; without, each comes from one `mmap`.
    """

    def __init__(self, top: int, merges: bool = True):
        self.top, self.merges = top, merges
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._owners: list[int] = []  # the owner of each: ALLOCATOR or USER
        self._bytes: dict[int, int] = {}  # owner -> total size of its mappings

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    def of(self, owner: int) -> list[tuple[int, int]]:
        """The mappings of one owner: the allocator or the user's program."""
        return [mapping for mapping, its_owner in zip(self, self._owners, strict=True) if its_owner == owner]

    def size_of(self, owner: int) -> int:
        """The bytes in all mappings of an owner."""
        return self._bytes.get(owner, 0)

    def _count(self, owner: int, more: int) -> None:
        self._bytes[owner] = self._bytes.get(owner, 0) + more

    @property
    def bottom(self) -> int:
        return self._starts[0] if self._starts else self.top

    def place(self, size: int, floor: int) -> int:
        """The highest address above `floor` with a free range of `size` bytes; 0 if there is none."""
        above = self.top
        for i in range(len(self._starts) - 1, -1, -1):
            if above - self._ends[i] >= size:
                return above - size
            above = self._starts[i]
        return above - size if above - floor >= size else 0

    def find(self, address: int) -> tuple[int, int] | None:
        """The mapping that contains an address."""
        i = bisect_right(self._starts, address) - 1
        return (self._starts[i], self._ends[i]) if i >= 0 and address < self._ends[i] else None

    def room_above(self, end: int) -> int:
        """The bytes between the end of a mapping and the next mapping."""
        i = bisect_right(self._starts, end - 1)
        return (self._starts[i] if i < len(self._starts) else self.top) - end

    def count_with(self, start: int, end: int, owner: int) -> int:
        """The number of mappings after one more is added."""
        i = bisect_right(self._starts, start)
        joined = self._joins(i - 1, self._ends, start, owner) + self._joins(i, self._starts, end, owner)
        return len(self) + 1 - joined

    def add(self, start: int, end: int, owner: int) -> None:
        self._count(owner, end - start)
        i = bisect_right(self._starts, start)
        if self._joins(i - 1, self._ends, start, owner):
            i -= 1
            start, _ = self._drop(i)
        if self._joins(i, self._starts, end, owner):
            _, end = self._drop(i)
        self._starts.insert(i, start)
        self._ends.insert(i, end)
        self._owners.insert(i, owner)

    def _joins(self, i: int, borders: list[int], border: int, owner: int) -> bool:
        """Whether mapping `i` exists, has the same owner and touches `border`, so that the two become one."""
        return self.merges and 0 <= i < len(borders) and borders[i] == border and self._owners[i] == owner

    def _drop(self, i: int) -> tuple[int, int]:
        del self._owners[i]
        return self._starts.pop(i), self._ends.pop(i)

    def extend(self, start: int, end: int) -> None:
        i = bisect_right(self._starts, start) - 1
        owner = self._owners[i]
        first, last = self._drop(i)
        self._count(owner, first - last)
        self.add(first, end, owner)

    def splits(self, start: int, end: int) -> bool:
        """Whether a range lies inside a mapping, so that unmapping it leaves two."""
        mapping = self.find(start)
        return mapping is not None and mapping[0] < start and end < mapping[1]

    def inside(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of mappings that lie in a range."""
        i = max(0, bisect_right(self._starts, start) - 1)
        parts = []
        while i < len(self._starts) and self._starts[i] < end:
            if self._ends[i] > start:
                parts.append((max(start, self._starts[i]), min(end, self._ends[i])))
            i += 1
        return parts

    def cut(self, start: int, end: int) -> None:
        """Remove a part, as `inside` returns it, from its mapping."""
        i = bisect_right(self._starts, start) - 1
        owner = self._owners[i]
        first, last = self._drop(i)
        self._count(owner, first - last)
        for piece in ((first, start), (end, last)):
            if piece[0] < piece[1]:
                self.add(*piece, owner)

    def copy(self) -> Mappings:
        twin = Mappings(self.top, self.merges)
        twin._starts, twin._ends, twin._owners = list(self._starts), list(self._ends), list(self._owners)
        twin._bytes = dict(self._bytes)
        return twin
