"""VecDeque: a ring of elements in one block that grows by doubling.

             0        end                head     capacity
     block -> +----------+--------------+----------+
              | the last |     free     | the first|     or head <= end, and free on both sides
              +----------+--------------+----------+

Its words are those of a Vec, and `head`, the place of the first element. What no longer goes round where the block
ends, once that grew or shrank, is moved as in Rust: of the two parts the smaller, if there is room for it. Source:
library/alloc/src/collections/vec_deque (handle_capacity_increase, shrink_to).
"""

from __future__ import annotations

from typing import Any

from heapwright.collections.growing import CAPACITY, LENGTH
from heapwright.collections.sequence import Sequence
from heapwright.collections.types import Type

HEAD = 3


class VecDeque(Sequence):
    """`VecDeque()` takes its type from the first element, `VecDeque(u8)` is told; index 0 is the front."""

    WORDS = 4
    __slots__ = ()

    def __init__(self, element: Type | None = None):
        super().__init__(element, 0)

    def push_back(self, value: Any) -> None:
        self._append(value)

    def push_front(self, value: Any) -> None:
        self._need_room(value)
        head = (self._load(HEAD) - 1) % self.capacity
        self.element.write(self.runtime, self._slot(head), value)
        self._store(HEAD, head)
        self._store(LENGTH, len(self) + 1)

    def pop_back(self) -> Any:
        """Take the last element out; None if there is none."""
        return self._pop_last()

    def pop_front(self) -> Any:
        """Take the first element out; None if there is none."""
        if len(self) == 0:
            return None
        value = self._read_out(0)
        self._store(HEAD, (self._load(HEAD) + 1) % self.capacity)
        self._store(LENGTH, len(self) - 1)
        return value

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
        finally:  # if that failed, too: what was folded is as it was
            self._unfold(min(old, capacity))

    def _unfold(self, old: int) -> None:
        """Let what went round at the end of `old` slots go round at the end of the block."""
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
        """Put all elements into the first slots, so many as there will be."""
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
