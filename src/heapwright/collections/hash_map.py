"""HashMap: a table of pairs and a byte of control for each, as hashbrown lays it out and lets it grow.

      block -> +-----------------------------+
               | padding                     |
               | pair n-1 ... pair 1, pair 0 |
    control -> +-----------------------------+  a multiple of 16
             0 | n bytes, one for each pair  |  EMPTY, DELETED, or seven bits of the key's hash
             n | 16 bytes                    |  what hashbrown reads past the end; all EMPTY here
               +-----------------------------+

n is a power of two, and at most 7/8 of the pairs are in use, of 4 or 8 all but one. A table that is full gives way
to one of the next size, allocated before the old one is freed. Source: hashbrown's src/raw. Unlike there, a probe
looks at one byte after the other, not at 16 at once; a table full of deleted pairs gives way to a new one instead
of being put in order in place; and the hash is FNV-1a, so that runs are repeatable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heapwright.collections.map import Map
from heapwright.collections.runtime import require_layout
from heapwright.collections.types import Reference, Type, round_up, write_bytes

CONTROL, BUCKETS, ROOM, ITEMS = 0, 1, 2, 3
EMPTY, DELETED = 0xFF, 0x80
GROUP = 16
LEAST_BUCKETS = 4


class HashMap(Map):
    """`HashMap()` takes its types from the first pair, `HashMap(u32, u32)` is told; it has no block while empty."""

    WORDS = 4
    __slots__ = ()

    def __init__(self, key: Type | None = None, value: Type | None = None):
        super().__init__(key, value, GROUP, 0, 0, 0)

    def __len__(self) -> int:
        return self._load(ITEMS)

    @property
    def capacity(self) -> int:
        """How many pairs fit without another block."""
        return self._load(ITEMS) + self._load(ROOM)

    def insert(self, key: Any, value: Any) -> None:
        """Add a pair, or replace the value of a key that is there."""
        self._learn_types(key, value)
        found = self._find(key)
        if found is not None:
            self._pair(found).value = value
            return
        if self._load(ROOM) == 0:
            self._make_room()
        hashed = hash_of(key)
        index = self._first_free(hashed)
        self._store(ROOM, self._load(ROOM) - (self._control(index) == EMPTY))
        self.element.write(self.runtime, self._place(index), self._pair_type(key=key, value=value))
        self._set_control(index, tag_of(hashed))
        self._store(ITEMS, len(self) + 1)

    def remove(self, key: Any) -> bool:
        """Drop a pair; say whether there was one."""
        found = self._find(key)
        if found is None:
            return False
        self.element.drop(self.runtime, self._place(found))
        ends_probes = self._control((found + 1) % self._load(BUCKETS)) == EMPTY
        self._set_control(found, EMPTY if ends_probes else DELETED)
        self._store(ROOM, self._load(ROOM) + ends_probes)
        self._store(ITEMS, len(self) - 1)
        return True

    def items(self) -> Iterator[tuple[Any, Any]]:
        """The pairs in the order of the table."""
        for index in self._used():
            pair = self._pair(index)
            yield pair.key, pair.value

    # --- the table

    def _value(self, place: int) -> Any:
        return self._pair(place).value

    def _place(self, index: int) -> int:
        return self._load(CONTROL) - (index + 1) * self.element.size

    def _pair(self, index: int) -> Reference:
        return self._pair_type.read(self.runtime, self._place(index), self)

    def _control(self, index: int) -> int:
        return self.runtime.memory.load(self._load(CONTROL) + index, 1)

    def _set_control(self, index: int, byte: int) -> None:
        self.runtime.memory.store(self._load(CONTROL) + index, 1, byte)

    def _used(self) -> Iterator[int]:
        return (index for index in range(self._load(BUCKETS)) if self._control(index) < DELETED)

    def _probe(self, hashed: int) -> Iterator[int]:
        """All places of the table, from the one that the hash says on."""
        buckets = self._load(BUCKETS)
        return ((hashed + step) % buckets for step in range(buckets))

    def _find(self, key: Any) -> int | None:
        hashed = hash_of(key)
        for index in self._probe(hashed):
            control = self._control(index)
            if control == EMPTY:
                return None
            if control == tag_of(hashed) and bytes_of(self._pair(index).key) == bytes_of(key):
                return index
        return None

    def _first_free(self, hashed: int) -> int:
        return next(index for index in self._probe(hashed) if self._control(index) >= DELETED)

    # --- growing

    def _make_room(self) -> None:
        """Move to a larger table; to one of the same size if much of this one is only deleted."""
        full, items = capacity_of(self._load(BUCKETS)), len(self)
        self._move(buckets_for(max(items + 1, full + 1) if items + 1 > full // 2 else full))

    def _move(self, buckets: int) -> None:
        """Copy all pairs to a new table, and free the old one."""
        old = [(self._place(index), hash_of(self._pair(index).key)) for index in self._used()]
        old_block, size = self._block(), self.element.size
        control = self._new_table(buckets)
        self._store(CONTROL, control)
        self._store(BUCKETS, buckets)
        self._store(ROOM, capacity_of(buckets) - len(old))
        for place, hashed in old:
            index = self._first_free(hashed)
            self.runtime.memory.copy(self._place(index), place, size)
            self._set_control(index, tag_of(hashed))
        if old_block is not None:
            self.runtime.dealloc(old_block)

    def _new_table(self, buckets: int) -> int:
        """A block for a table, all empty; where its control bytes begin."""
        pairs, control_bytes = round_up(buckets * self.element.size, GROUP), buckets + GROUP
        align = max(GROUP, self.element.align)
        require_layout(pairs + control_bytes, align)
        control = self.runtime.alloc(pairs + control_bytes, align, self.type_name) + pairs
        write_bytes(self.runtime.memory, control, bytes([EMPTY]) * control_bytes)
        return control

    def _block(self) -> int | None:
        """Where the table's block begins, if there is one."""
        buckets = self._load(BUCKETS)
        return self._load(CONTROL) - round_up(buckets * self.element.size, GROUP) if buckets else None

    def _release(self) -> None:
        if self._load(BUCKETS) == 0:
            return
        if self.element.needs_drop:
            for index in self._used():
                self.element.drop(self.runtime, self._place(index))
        block = self._block()
        assert block is not None
        self.runtime.dealloc(block)


def capacity_of(buckets: int) -> int:
    """How many pairs so large a table may hold."""
    return max(buckets - 1, 0) if buckets <= 8 else buckets // 8 * 7


def buckets_for(capacity: int) -> int:
    buckets = LEAST_BUCKETS
    while capacity_of(buckets) < capacity:
        buckets *= 2
    return buckets


def hash_of(key: Any) -> int:
    """FNV-1a of a key's bytes, its high half folded into the low one."""
    hashed = 0xCBF29CE484222325
    for byte in bytes_of(key):
        hashed = (hashed ^ byte) * 0x100000001B3 % (1 << 64)
    return hashed ^ hashed >> 32


def bytes_of(key: Any) -> bytes:
    """What is hashed and compared: a String and a &str with one text are one key."""
    if isinstance(key, int):
        return key.to_bytes(9, "little", signed=True)
    return key if isinstance(key, bytes) else str(key).encode()


def tag_of(hashed: int) -> int:
    """The seven bits that the control byte keeps."""
    return hashed >> 57
