"""VecDeque: a ring of elements in one block that grows by doubling.

             0        end                head     capacity
     block -> +----------+--------------+----------+
              | the last |     free     | the first|     or head <= end, and free on both sides
              +----------+--------------+----------+

Its words are those of a Vec, and `head`, the slot of the first element. When the block grows or shrinks, elements that
wrapped around its end are moved as in Rust: the smaller of the two parts moves, if there is room for it. Source:
library/alloc/src/collections/vec_deque (handle_capacity_increase, shrink_to).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.collections.growing import CAPACITY, LENGTH
from heapwright.collections.sequence import Sequence
from heapwright.collections.structs import by_value
from heapwright.collections.types import Type

HEAD = 3


class VecDeque(Sequence):
    """Rust's VecDeque<T>. It makes the requests of a Vec; index 0 is the front.

    push_back(x), push_front(x)   double the capacity, from 8, 4 or 1 elements at first (see `Growing`)
    pop_back(), pop_front()       no request; the caller owns the element
    """

    WORDS = 4
    __slots__ = ()

    def __init__(self, element: Type | None = None):
        super().__init__(element, 0)

    def push_back(self, value: Any) -> None:
        """Append a value at the end."""
        self._append(value)

    def push_front(self, value: Any) -> None:
        """Insert a value at the front."""
        value = by_value(value)
        self._need_room(value)
        head = (self._load(HEAD) - 1) % self.capacity
        self.element.write(self.runtime, self._slot(head), value)
        self._store(HEAD, head)
        self._store(LENGTH, len(self) + 1)

    def pop_back(self) -> Any:
        """Remove and return the last element; None if there is none."""
        return self._pop_last()

    def pop_front(self) -> Any:
        """Remove and return the first element; None if there is none."""
        if len(self) == 0:
            return None
        value = self.element.take(self.runtime, self._place(0))
        self._store(HEAD, (self._load(HEAD) + 1) % self.capacity)
        self._store(LENGTH, len(self) - 1)
        return value

    def shrink_to(self, min_capacity: int) -> None:
        """Give back spare room, but keep room for `min_capacity` elements."""
        if self.capacity > len(self):
            super().shrink_to(min_capacity)

    def remove(self, index: int) -> Any:
        """Remove and return the element at an index; None if there is none."""
        return self._take_range(index, index + 1)[0] if 0 <= index < len(self) else None

    def retain(self, keeps: Callable[[Any], bool]) -> None:
        """Drop the elements for which `keeps` returns false. As in Rust, they are dropped after it has seen all."""
        kept = 0
        for index in range(len(self)):
            if keeps(self[index]):
                self._swap(kept, index)
                kept += 1
        self.truncate(kept)

    # --- the ring

    def _place(self, index: int) -> int:
        return self._slot((self._load(HEAD) + index) % self.capacity)

    def _slot(self, number: int) -> int:
        return self.address + number * self.element.size

    def _move(self, target: int, source: int, count: int) -> None:
        """Copy elements from slot to slot."""
        self.runtime.memory.copy(self._slot(target), self._slot(source), count * self.element.size)

    def _set_capacity(self, capacity: int) -> None:
        old = self._load(CAPACITY)
        if capacity < old:
            self._fold(capacity)
        try:
            super()._set_capacity(capacity)
        finally:  # also if that failed, to undo the fold
            self._unfold(min(old, capacity))

    def _unfold(self, old: int) -> None:
        """Make elements that wrapped around at the end of `old` slots wrap around at the end of the block."""
        head, capacity = self._load(HEAD), self._load(CAPACITY)
        first = old - head
        last = len(self) - first
        if last <= 0:
            return
        if last < first and last <= capacity - old:
            self._move(old, 0, last)
        else:
            self._move(capacity - first, head, first)
            self._store(HEAD, capacity - first)

    def _fold(self, capacity: int) -> None:
        """Put all elements into the first `capacity` slots."""
        head, length, old = self._load(HEAD), len(self), self._load(CAPACITY)
        end = head + length
        if length == 0:
            self._store(HEAD, 0)
        elif end > old:
            self._move(capacity - (old - head), head, old - head)
            self._store(HEAD, capacity - (old - head))
        elif head >= capacity:
            self._move(0, head, length)
            self._store(HEAD, 0)
        elif end > capacity:
            self._move(0, capacity, end - capacity)
