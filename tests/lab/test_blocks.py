"""The conversion's table of blocks by address, interpreted: how it grows and forgets, in place."""

import mmap
import random

import pytest

from heapwright.memory import BufferMemory
from heapwright.traces.conversion import blocks
from heapwright.traces.conversion.state import Table

ROOM = 1 << 24


class Mappings(BufferMemory):
    """Memory in which a mapping that grows moves, as in a full address space."""

    def __init__(self):
        self.data = mmap.mmap(-1, ROOM)
        super().__init__(self.data)
        self.end = mmap.PAGESIZE

    def copy(self, target, source, size):
        self.data[target : target + size] = self.data[source : source + size]

    def mmap(self, size):
        self.end += size
        return self.end - size

    def mremap(self, address, old, new, may_move):
        place = self.mmap(new)
        self.copy(place, address, old)
        return place


@pytest.fixture
def table():
    return Table(Mappings(), 64)


def entries(table):
    """What can be found by its address: the number and whether it is live."""
    return {
        entry.key: (entry.number, blocks.is_live(entry))
        for entry in (blocks.entry_at(table, i) for i in range(table.mask + 1))
        if entry.key and blocks.find(table, entry.key).address == entry.address
    }


@pytest.mark.long
@pytest.mark.parametrize("spread", [1 << 12, 1 << 40])
def test_a_table_that_grows_keeps_what_was_in_it(table, spread, monkeypatch):
    monkeypatch.setattr(blocks, "KEPT_FREED", 64)
    chosen, known = random.Random(spread), {}
    for number in range(3000):
        key = 16 * chosen.randrange(1, spread)
        entry, was_live = blocks.place(table, key), known.get(key, (0, False))[1]
        assert blocks.is_live(entry) == was_live
        if was_live:
            blocks.free(table, entry, number, 1)
        else:
            blocks.enliven(entry)
            entry.number = number
        known[key] = number, not was_live
        if number % 197 == 0:
            found = entries(table)
            assert len(found) == table.used
            assert found.items() <= known.items()
            assert {key for key, (_, is_live) in known.items() if is_live} <= found.keys()
            assert table.freed == sum(not is_live for _, is_live in found.values())


def keys_with(hashed, mask):
    return (key for key in range(16, 1 << 20, 16) if blocks.hash_of(key) & mask == hashed)


def test_entries_that_wrap_around_the_end_are_found_in_a_larger_table(table):
    """The first two lie at the end and move away. The third one has wrapped to the start, and must not pass them."""
    last = blocks.SMALLEST - 1
    moving, staying = keys_with(2 * last, 2 * last + 1), keys_with(last - 1, 2 * last + 1)
    wrapped = [next(moving), next(moving), next(staying)]
    others = (key for key in range(16, 1 << 20, 16) if 8 < blocks.hash_of(key) & last < last - 8)
    for key in wrapped:
        blocks.enliven(blocks.place(table, key))
    assert blocks.find(table, wrapped[2]).address == blocks.entry_at(table, 0).address
    while table.mask == last:
        blocks.enliven(blocks.place(table, next(others)))
    assert entries(table).keys() >= set(wrapped)
