"""LinkedList: each element in its own node, with links to the next node and the previous one.

      node -> +----------+
            0 | next     |  a node, or 0
            8 | previous |  a node, or 0
              +----------+
           16 | element  |  as rustc lays a struct out: an element of larger alignment comes first
              +----------+

Its words are the first node, the last node, and their number.
Source: library/alloc/src/collections/linked_list.rs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Self

from heapwright.collections.errors import OutOfBounds
from heapwright.collections.owned import Owned
from heapwright.collections.raw import debug
from heapwright.collections.runtime import Holdings, Owner
from heapwright.collections.structs import StructType
from heapwright.collections.types import Type, hashed_elements, plain_elements, type_of, u64

HEAD, TAIL, LENGTH = 0, 1, 2
NOWHERE = 0


@lru_cache
def node_of(element: Type) -> StructType:
    """Rust's Node<T>."""
    return StructType(f"Node<{element.name}>", next=u64, previous=u64, element=element)


class LinkedList(Owned):
    """Rust's LinkedList<T>. The first element or an argument gives its type.

    push_back, push_front, extend   one request for each element: two pointers and the element
    pop_back, pop_front, clear      one free for each element
    append, split_off               no request: the nodes move to the other list
    clone()                         the element's clone, then its node, one after the other
    """

    WORDS = 3
    __slots__ = ()

    def __init__(self, element: Type | None = None):
        super().__init__(element, NOWHERE, NOWHERE, 0)

    def __len__(self) -> int:
        return self._load(LENGTH)

    def push_back(self, value: Any) -> None:
        """Append a value at the end."""
        self._link(self._new_node(value), self._load(TAIL), NOWHERE)

    def push_front(self, value: Any) -> None:
        """Insert a value at the front."""
        self._link(self._new_node(value), NOWHERE, self._load(HEAD))

    def pop_back(self) -> Any:
        """Remove and return the last element; None if there is none."""
        return self._take(self._load(TAIL))

    def pop_front(self) -> Any:
        """Remove and return the first element; None if there is none."""
        return self._take(self._load(HEAD))

    def extend(self, values: Iterable[Any]) -> None:
        """Append several values."""
        for value in values:
            self.push_back(value)

    def append(self, other: Self) -> None:
        """Move all nodes of another list to the end of this one."""
        if len(other) == 0:
            return
        self._element = self._element or other._element
        self._join(self._load(TAIL), other._load(HEAD))
        self._store(TAIL, other._load(TAIL))
        self._store(LENGTH, len(self) + len(other))
        other._store_words(NOWHERE, NOWHERE, 0)

    def split_off(self, index: int) -> Self:
        """Move the nodes from an index on to a new list."""
        length = len(self)
        if not 0 <= index <= length:
            raise OutOfBounds(index, length)
        other = type(self)(self._element)
        if index < length:
            node = next(islice(self._nodes(), index, None))
            before, tail = self._get(node, "previous"), self._load(TAIL)
            self._join(before, NOWHERE)
            self._store(LENGTH, index)
            other._store_words(node, tail, length - index)
            other._join(NOWHERE, node)
        return other

    def clear(self) -> None:
        """Drop all elements, from the first on, and free their nodes."""
        self._release()
        self._store_words(NOWHERE, NOWHERE, 0)

    def clone(self) -> Self:
        """Another list with clones of the elements."""
        twin = type(self)(self._element)
        for node in self._nodes():
            twin.push_back(self.element.clone(self.runtime, self._place(node)))
        return twin

    def __iter__(self) -> Iterator[Any]:
        return (self.element.read(self.runtime, self._place(node), self) for node in self._nodes())

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> Any:
        return plain_elements(element, value)

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        return hashed_elements(element, value)

    def holdings(self) -> Holdings:
        for node in self._nodes():
            yield node, self.element.containers(self.runtime, self._place(node))

    # --- nodes

    @property
    def _node(self) -> StructType:
        return node_of(self.element)

    def _place(self, node: int) -> int:
        return node + self._node.offsets["element"]

    def _nodes(self) -> Iterator[int]:
        node = self._load(HEAD)
        while node:
            following = self._get(node, "next")
            yield node
            node = following

    def _get(self, node: int, field: str) -> int:
        return self.runtime.memory.load(node + self._node.offsets[field], 8)

    def _set(self, node: int, field: str, target: int) -> None:
        self.runtime.memory.store(node + self._node.offsets[field], 8, target)

    def _new_node(self, value: Any) -> int:
        if self._element is None:
            self._element = type_of(value)
        self.element.require(value)
        kind = self._node
        address = self.runtime.alloc(kind.size, kind.align, Owner(self.type_name, kind))
        self.element.write(self.runtime, self._place(address), value)
        return address

    def _link(self, node: int, before: int, behind: int) -> None:
        self._join(before, node)
        self._join(node, behind)
        self._store(LENGTH, len(self) + 1)

    def _join(self, before: int, behind: int) -> None:
        """Make two nodes neighbours; one of them may be the end of the list."""
        if before:
            self._set(before, "next", behind)
        else:
            self._store(HEAD, behind)
        if behind:
            self._set(behind, "previous", before)
        else:
            self._store(TAIL, before)

    def _take(self, node: int) -> Any:
        if not node:
            return None
        value = self.element.take(self.runtime, self._place(node))
        self._join(self._get(node, "previous"), self._get(node, "next"))
        self._store(LENGTH, len(self) - 1)
        self.runtime.dealloc(node)
        return value

    def _store_words(self, *words: int) -> None:
        for index, word in enumerate(words):
            self._store(index, word)

    def _release(self) -> None:
        for node in self._nodes():
            self.element.drop(self.runtime, self._place(node))
            self.runtime.dealloc(node)

    def __str__(self) -> str:
        return self._debug()

    def _debug(self) -> str:
        return f"[{', '.join(map(debug, self))}]"
