"""BinaryHeap: the elements of a Vec, each at least as great as its two children.

      index 0 -> the greatest; the children of index i are 2i+1 and 2i+2

Source: library/alloc/src/collections/binary_heap/mod.rs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from heapwright.collections.elements import Elements
from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD
from heapwright.collections.vec import Vec

SHORT = 2048  # elements: up to this length, Rust counts the levels to decide whether a rebuild takes fewer steps


class BinaryHeap(Elements):
    """Rust's BinaryHeap<T>: it makes the requests of a Vec. Its elements must be ordered in Python.

    push(x), pop()      the greatest element leaves first
    peek()              the greatest element, or None
    into_sorted_vec()   no request: a Vec of the same block, the least element first
    """

    __slots__ = ()

    def push(self, value: Any) -> None:
        """Add a value."""
        self._append(value)
        self._sift_up(0, len(self) - 1)

    def pop(self) -> Any:
        """Remove and return the greatest element; None if there is none."""
        last = len(self) - 1
        if last < 0:
            return None
        self._swap(0, last)
        taken = self._pop_last()
        if last:
            self._sift_down_to_bottom()
        return taken

    def peek(self) -> Any:
        """The greatest element; None if there is none."""
        return self._read(0) if len(self) else None

    def extend(self, values: Iterable[Any]) -> None:
        """Add several values."""
        before = len(self)
        super().extend(values)
        self._rebuild_tail(before)

    def append(self, other: Self) -> None:
        """Move all elements of another heap here. The heap with more elements grows, and becomes this one."""
        if len(self) < len(other):
            self._exchange_with(other)
        before = len(self)
        super().append(other)
        self._rebuild_tail(before)

    def retain(self, keeps: Callable[[Any], bool]) -> None:
        """Drop the elements for which `keeps` returns false."""
        answers: list[bool] = []

        def noted(value: Any) -> bool:
            answers.append(bool(keeps(value)))
            return answers[-1]

        super().retain(noted)
        if False in answers:
            self._rebuild_tail(answers.index(False))

    def into_sorted_vec(self) -> Vec:
        """A Vec of the elements in ascending order; the heap is moved."""
        for end in range(len(self) - 1, 0, -1):
            self._swap(0, end)
            self._sift_down(0, end)
        vec = Vec(self._element)
        for word in (CAPACITY, POINTER_WORD, LENGTH):
            vec._store(word, self._load(word))
        self._end("moved")
        return vec

    # --- the order

    def _key(self, index: int) -> Any:
        return self.element.plain(self._read(index))

    def _sift_up(self, start: int, index: int) -> None:
        """Move an element up until its parent is at least as great."""
        while index > start and self._key((index - 1) // 2) < self._key(index):
            self._swap(index, (index - 1) // 2)
            index = (index - 1) // 2

    def _greater_child(self, index: int, end: int) -> int:
        """The greater child of an index, the right one of equals; `end` or more if there is none."""
        child = 2 * index + 1
        return child + (child + 1 < end and self._key(child) <= self._key(child + 1))

    def _sift_down(self, index: int, end: int) -> None:
        """Move an element down until no child is greater."""
        child = self._greater_child(index, end)
        while child < end and self._key(index) < self._key(child):
            self._swap(index, child)
            index, child = child, self._greater_child(child, end)

    def _sift_down_to_bottom(self) -> None:
        """Move the first element all the way down and up again: it was the last one, and belongs near the end."""
        index, end = 0, len(self)
        child = self._greater_child(index, end)
        while child < end:
            self._swap(index, child)
            index, child = child, self._greater_child(child, end)
        self._sift_up(0, index)

    def _rebuild_tail(self, start: int) -> None:
        """Put the elements from an index on in heap order: one by one, or by a rebuild if that takes fewer steps."""
        length = len(self)
        if start < length and is_rebuilt(start, length):
            for index in range(length // 2 - 1, -1, -1):
                self._sift_down(index, length)
        else:
            for index in range(start, length):
                self._sift_up(0, index)

    def _exchange_with(self, other: Self) -> None:
        for word in (CAPACITY, POINTER_WORD, LENGTH):
            mine, its = self._load(word), other._load(word)
            self._store(word, its)
            other._store(word, mine)
        self._element, other._element = other._element, self._element


def is_rebuilt(start: int, length: int) -> bool:
    """Whether a heap of `length` elements is rebuilt when those from `start` on are new."""
    more = length - start
    levels = start.bit_length() - 1 if length <= SHORT else 11
    return start < more or 2 * length < more * levels
