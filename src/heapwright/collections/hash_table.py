"""HashTable: pairs and a control byte for each, with the layout, search and growth of hashbrown.

      block -> +-----------------------------+
               | padding                     |
               | pair n-1 ... pair 1, pair 0 |
    control -> +-----------------------------+  a multiple of 16, or of the pair's alignment if that is larger
             0 | n bytes, one for each pair  |  EMPTY, DELETED, or seven bits of the key's hash
             n | 16 bytes                    |  the first ones again, so that 16 can be read from any place
               +-----------------------------+

n is a power of two, and at most 7/8 of the places are in use; of 4 or 8 places, all but one. Pairs of one byte have at
least 16 places, pairs of 2 or 3 bytes 8, others 4. Control bytes are read in groups of 16, as with SSE2, and a search
ends at the first group with an EMPTY byte. So a removed pair leaves EMPTY, which is room again, unless it lies in a run
of 16 bytes that are not EMPTY. A search may have passed over such a run, so there it leaves DELETED.

A full table is replaced by a larger one, which is allocated before the old one is freed. If half of it is DELETED, the
table is rehashed in place instead, without a request.

This is hashbrown 0.16.1, the version in Rust 1.95 (src/raw.rs, src/control). Versions before 0.15.3 (April 2025) have
at least 4 places for any pair: `HashMap<u8, ()>` begins with 36 bytes there, and with 48 here. The hash is FNV-1a
instead of Rust's hash with random keys, so that runs can be repeated. A Rust program with that hash makes the same
requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from heapwright.collections.map import Pair, Table, pair_at
from heapwright.collections.owned import discard
from heapwright.collections.raw import read_bytes, round_up, write_bytes
from heapwright.collections.runtime import Holdings, require_layout
from heapwright.collections.structs import StructValue, by_value

CONTROL, BUCKETS, ROOM, ITEMS = 0, 1, 2, 3
EMPTY, DELETED = 0xFF, 0x80
GROUP = 16
SMALL = {1: 14, 2: 7, 3: 7}  # bytes of a pair -> pairs that the first table has room for; others 3
REHASHED = bytes(DELETED if byte < DELETED else EMPTY for byte in range(256))


class HashTable(Table):
    """The common base of HashMap and HashSet.

    capacity               the number of pairs that fit without another block
    insert, entry          reserve(1) first, even if the key is there; then the table may double
    extend                 reserves the number that `len` gives, half of it if the table is not empty
    reserve(n)             one request, then a free of the old table; or none, if removed pairs leave enough room
    shrink_to_fit()        a smaller table, then a free; without pairs only a free
    remove, retain, drain, clear   no request, except the frees of dropped pairs; the table stays
    clone()                one request for a table of the same size, then those of the pairs' clones
    """

    WORDS = 4
    __slots__ = ()

    def __init__(self, pair: Pair | None):
        super().__init__(pair, GROUP, 0, 0, 0)

    def __len__(self) -> int:
        return self._load(ITEMS)

    @property
    def capacity(self) -> int:
        """The number of pairs that fit without another block."""
        return self._load(ITEMS) + self._load(ROOM)

    def reserve(self, additional: int) -> None:
        """Make room for `additional` more pairs."""
        if additional <= self._load(ROOM):
            return
        items, full = len(self) + additional, capacity_of(self._load(BUCKETS))
        if items <= full // 2:
            self._rehash_in_place()
        else:
            self._resize(max(items, full + 1))

    def shrink_to_fit(self) -> None:
        """Give back all spare room."""
        self.shrink_to(0)

    def shrink_to(self, min_capacity: int) -> None:
        """Give back spare room, but keep room for `min_capacity` pairs; a smaller table stays as it is."""
        needed = max(len(self), min_capacity)
        if needed == 0:
            self._free_block()
            self._store_words(GROUP, 0, 0, 0)
        elif self._load(BUCKETS) > buckets_for(needed, self.element.size):
            self._resize(needed)

    def clear(self) -> None:
        """Drop all pairs; the block stays."""
        if len(self):
            self._drop_pairs()
            self._reset()

    def holdings(self) -> Holdings:
        block = self._block()
        if block is not None:
            places = map(self._place, self._used())
            yield block, (each for place in places for each in self.element.containers(self.runtime, place))

    # --- pairs

    def _find(self, key: Any) -> int | None:
        return self._search(key)[0] if len(self) else None

    def _address(self, place: int) -> int:
        return self._place(place) + self._pair.offsets["value"]

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        return (pair_at(self._pair, self.runtime, self._place(index), self) for index in self._used())

    def _expect(self, count: int) -> None:
        self.reserve((count + 1) // 2 if len(self) else count)

    def _prepare_entry(self) -> None:
        if self._element is not None:
            self.reserve(1)

    def _insert(self, key: Any, value: Any) -> tuple[int, list[Any] | None]:
        key, value = by_value(key), by_value(value)
        self.reserve(1)
        found, free, hashed = self._search(key)
        if found is None:
            self.element.write(self.runtime, self._place(free), self._pair(key=key, value=value))
            self._occupy(free, hashed)
            return free, None
        self._pair.value.require(value)
        discard(key)
        address = self._address(found)
        old = self._pair.value.take(self.runtime, address)
        self._pair.value.write(self.runtime, address, value)
        return found, [old]

    def _occupy(self, index: int, hashed: int) -> None:
        self._store(ROOM, self._load(ROOM) - (self._control(index) == EMPTY))
        self._set_control(index, tag_of(hashed))
        self._store(ITEMS, len(self) + 1)

    def _take(self, key: Any) -> StructValue | None:
        found = self._find(key)
        if found is None:
            return None
        self._vacate(found)
        return self._pair.take(self.runtime, self._place(found))

    def _vacate(self, index: int) -> None:
        before = self._group((index - GROUP) % self._load(BUCKETS))
        run = len(before) - 1 - before.rfind(EMPTY) + run_without_empty(self._group(index))
        self._set_control(index, DELETED if run >= GROUP else EMPTY)
        self._store(ROOM, self._load(ROOM) + (run < GROUP))
        self._store(ITEMS, len(self) - 1)

    def _retain(self, keeps: Callable[[Any, Any], bool]) -> None:
        for index in self._used():
            if not keeps(*pair_at(self._pair, self.runtime, self._place(index), self)):
                self._vacate(index)
                self.element.drop(self.runtime, self._place(index))

    def _drain(self) -> list[StructValue]:
        taken = [self._pair.take(self.runtime, self._place(index)) for index in self._used()]
        if self._load(BUCKETS):
            self._reset()
        return taken

    def _clone_into(self, twin: Self) -> Self:
        """Fill a new table with clones of all pairs, at the same places."""
        buckets = self._load(BUCKETS)
        twin._element = self._element
        if buckets:
            twin._store_words(twin._new_table(buckets), buckets, capacity_of(buckets), 0)
        for index in self._used():
            pair = self._pair.clone(self.runtime, self._place(index))
            twin.element.write(twin.runtime, twin._place(index), pair)
            twin._set_control(index, self._control(index))
            twin._store(ITEMS, len(twin) + 1)
        if buckets:
            write_bytes(twin.runtime.memory, twin._load(CONTROL), self._control_bytes())
            twin._store(ROOM, self._load(ROOM))
        return twin

    # --- the control bytes

    def _control(self, index: int) -> int:
        return self.runtime.memory.load(self._load(CONTROL) + index, 1)

    def _set_control(self, index: int, byte: int) -> None:
        """Set a control byte, and its copy behind the table."""
        control = self._load(CONTROL)
        self.runtime.memory.store(control + index, 1, byte)
        self.runtime.memory.store(control + (index - GROUP) % self._load(BUCKETS) + GROUP, 1, byte)

    def _group(self, index: int) -> bytes:
        """The 16 control bytes from an index on."""
        return read_bytes(self.runtime.memory, self._load(CONTROL) + index, GROUP)

    def _control_bytes(self) -> bytes:
        return read_bytes(self.runtime.memory, self._load(CONTROL), self._load(BUCKETS) + GROUP)

    def _used(self) -> Iterator[int]:
        return (index for index in range(self._load(BUCKETS)) if self._control(index) < DELETED)

    def _probe(self, hashed: int) -> Iterator[tuple[int, bytes]]:
        """The groups to search for a hash, in order, each with the index of its first byte."""
        buckets = self._load(BUCKETS)
        place, stride = hashed % buckets, 0
        while True:
            yield place, self._group(place)
            stride += GROUP
            place = (place + stride) % buckets

    def _search(self, key: Any) -> tuple[int | None, int, int]:
        """The index of a key's pair, or None; an index for a new pair with that key; the key's hash."""
        kind, buckets = self._pair.key, self._load(BUCKETS)
        hashed, wanted = hash_of(kind.hashed(key)), kind.plain(key)
        free: int | None = None
        for start, group in self._probe(hashed):
            for offset in places_of(group, tag_of(hashed)):
                index = (start + offset) % buckets
                if kind.plain(kind.read(self.runtime, self._key_place(index), self)) == wanted:
                    return index, index, hashed
            free = self._free_in(start, group) if free is None else free
            if free is not None and EMPTY in group:
                break
        assert free is not None
        return None, self._corrected(free), hashed

    def _free_for(self, hashed: int) -> int:
        """The index for a new pair with a hash."""
        found = (self._free_in(start, group) for start, group in self._probe(hashed))
        return self._corrected(next(index for index in found if index is not None))

    def _free_in(self, start: int, group: bytes) -> int | None:
        offset = next((offset for offset, byte in enumerate(group) if byte >= DELETED), None)
        return None if offset is None else (start + offset) % self._load(BUCKETS)

    def _corrected(self, index: int) -> int:
        """Correct an index in a table smaller than a group: EMPTY bytes behind it may stand for a pair in use."""
        if self._control(index) >= DELETED:
            return index
        return next(offset for offset, byte in enumerate(self._group(0)) if byte >= DELETED)

    # --- the table

    def _place(self, index: int) -> int:
        return self._load(CONTROL) - (index + 1) * self.element.size

    def _key_place(self, index: int) -> int:
        return self._place(index) + self._pair.offsets["key"]

    def _hash_at(self, index: int) -> int:
        kind = self._pair.key
        return hash_of(kind.hashed(kind.read(self.runtime, self._key_place(index), self)))

    def _resize(self, capacity: int) -> None:
        """Copy all pairs to a new table, and free the old one."""
        old = [(self._place(index), self._hash_at(index)) for index in self._used()]
        old_block, buckets = self._block(), buckets_for(capacity, self.element.size)
        self._store_words(self._new_table(buckets), buckets, capacity_of(buckets) - len(old), len(old))
        for place, hashed in old:
            index = self._free_for(hashed)
            self.runtime.memory.copy(self._place(index), place, self.element.size)
            self._set_control(index, tag_of(hashed))
        if old_block is not None:
            self.runtime.dealloc(old_block)

    def _rehash_in_place(self) -> None:
        """Turn DELETED into EMPTY, and mark each pair as DELETED until it lies where its hash leads."""
        buckets, control = self._load(BUCKETS), self._load(CONTROL)
        fresh = self._control_bytes()[:buckets].translate(REHASHED)
        write_bytes(self.runtime.memory, control, fresh)
        write_bytes(self.runtime.memory, control + max(buckets, GROUP), fresh[:GROUP])
        for index in range(buckets):
            while self._control(index) == DELETED and self._settle(index):
                pass
        self._store(ROOM, capacity_of(buckets) - len(self))

    def _settle(self, index: int) -> bool:
        """Move the pair at an index to where its hash leads; return True if another pair took its place and is next."""
        hashed = self._hash_at(index)
        target = self._free_for(hashed)
        start, buckets = hashed % self._load(BUCKETS), self._load(BUCKETS)
        if (index - start) % buckets // GROUP == (target - start) % buckets // GROUP:
            self._set_control(index, tag_of(hashed))
            return False
        swaps = self._control(target) == DELETED
        self._set_control(target, tag_of(hashed))
        self._exchange(self._place(index), self._place(target))
        if not swaps:
            self._set_control(index, EMPTY)
        return swaps

    def _exchange(self, a: int, b: int) -> None:
        memory, size = self.runtime.memory, self.element.size
        scratch = read_bytes(memory, a, size)
        memory.copy(a, b, size)
        write_bytes(memory, b, scratch)

    def _new_table(self, buckets: int) -> int:
        """Allocate an empty table; return the address of its control bytes."""
        align = max(GROUP, self.element.align)
        pairs, control_bytes = round_up(buckets * self.element.size, align), buckets + GROUP
        require_layout(pairs + control_bytes, align)
        control = self.runtime.alloc(pairs + control_bytes, align, self.type_name) + pairs
        write_bytes(self.runtime.memory, control, bytes([EMPTY]) * control_bytes)
        return control

    def _reset(self) -> None:
        """Make the table empty without dropping its pairs."""
        buckets = self._load(BUCKETS)
        write_bytes(self.runtime.memory, self._load(CONTROL), bytes([EMPTY]) * (buckets + GROUP))
        self._store(ROOM, capacity_of(buckets))
        self._store(ITEMS, 0)

    def _store_words(self, *words: int) -> None:
        for index, word in enumerate(words):
            self._store(index, word)

    def _block(self) -> int | None:
        """The start of the table's block, if there is one."""
        buckets = self._load(BUCKETS)
        if buckets == 0:
            return None
        return self._load(CONTROL) - round_up(buckets * self.element.size, max(GROUP, self.element.align))

    def _drop_pairs(self) -> None:
        if self.element.needs_drop:
            for index in self._used():
                self.element.drop(self.runtime, self._place(index))

    def _free_block(self) -> None:
        block = self._block()
        if block is not None:
            self.runtime.dealloc(block)

    def _release(self) -> None:
        if self._load(BUCKETS):
            self._drop_pairs()
            self._free_block()


def capacity_of(buckets: int) -> int:
    """The number of pairs that a table with this many places may hold."""
    return max(buckets - 1, 0) if buckets <= 8 else buckets // 8 * 7


def buckets_for(capacity: int, size: int) -> int:
    """The number of places of a table for `capacity` pairs of `size` bytes."""
    if capacity >= 15:
        return 1 << (capacity * 8 // 7 - 1).bit_length()
    capacity = max(capacity, SMALL.get(max(size, 1), 3))
    return 4 if capacity < 4 else 8 if capacity < 8 else 16


def places_of(group: bytes, tag: int) -> Iterator[int]:
    return (offset for offset, byte in enumerate(group) if byte == tag)


def run_without_empty(group: bytes) -> int:
    """The number of bytes before the first EMPTY one."""
    found = group.find(EMPTY)
    return len(group) if found < 0 else found


def hash_of(data: bytes) -> int:
    """FNV-1a of a key's bytes, its high half folded into the low one."""
    hashed = 0xCBF29CE484222325
    for byte in data:
        hashed = (hashed ^ byte) * 0x100000001B3 % (1 << 64)
    return hashed ^ hashed >> 32


def tag_of(hashed: int) -> int:
    """The seven bits of a hash that the control byte stores."""
    return hashed >> 57
