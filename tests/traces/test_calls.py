"""From addresses to blocks, against a model that goes call by call with a dictionary."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.traces import calls
from heapwright.traces.calls import Calls, resolve
from heapwright.traces.events import (
    ALLOC,
    ALLOC_ZEROED,
    DEALLOC,
    FAILED,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    check,
    starts,
    summarize,
)

ADDRESSES = st.integers(0, 4).map(lambda place: 16 * place)
ROWS = st.lists(
    st.tuples(st.sampled_from([ALLOC, ALLOC_ZEROED, REALLOC, DEALLOC, THREAD_EXIT]), ADDRESSES, ADDRESSES,
              st.integers(0, 3), st.sampled_from([7, 3, 9])),
    max_size=40,
)  # fmt: skip


def calls_of(rows):
    op, address, old, size, thread = (
        (np.array(column, "u8") for column in zip(*rows, strict=True)) if rows else [[]] * 5
    )
    acquires, releases = np.isin(op, [1, 2, 3]), np.isin(op, [3, 4])
    return Calls.in_order(op=op, address=address * acquires, old=old * releases, size=size, thread=thread)


class Model:
    """The events of rows that follow each other, whatever nonsense they are.

    Of addresses that are in `doubtful` nothing is known, because they were given out again without a free.
    """

    def __init__(self, rows, doubtful=frozenset()):
        self.held, self.blocks, self.events, self.notes, self.threads = {}, 0, [], Counter(), {}
        self.released, self.doubtful, self.repaired = set(), doubtful, set()
        for op, address, old, size, thread in rows:
            if op == REALLOC and size == address == 0 and old:
                self.notes[calls.REALLOC_TO_ZERO] += 1
                self.call(DEALLOC, thread, 0, old, 0)
            else:
                self.call(op, thread, address, old, size)

    def call(self, op, thread, address, old, size):
        self.thread = thread
        if op in (ALLOC, ALLOC_ZEROED) or (op == REALLOC and not old):
            self.alloc(op, address, size)
        elif op == REALLOC:
            self.realloc(address, old, size)
        elif op == THREAD_EXIT or not old:
            self.add(op)
        else:
            self.dealloc(old)

    def dealloc(self, old):
        if old in self.held:
            self.add(DEALLOC, self.held.pop(old))
        else:
            self.notes[calls.DOUBLE_FREE if self.is_freed(old) else calls.UNMATCHED_FREE] += 1
        self.released.add(old)

    def is_freed(self, address):
        return address in self.released and address not in self.doubtful

    def add(self, op, block=NONE, size=0, flags=0):
        thread = self.threads.setdefault(self.thread, len(self.threads))
        self.events.append((op, flags, 0, thread, block, size, 1, 0, 0))

    def acquire(self, address, block):
        if address in self.held:
            self.notes[calls.MISSING_FREE] += 1
            self.repaired.add(address)
            self.add(DEALLOC, self.held[address])
        self.held[address] = block
        self.released.discard(address)

    def alloc(self, op, address, size):
        if address:
            self.acquire(address, self.blocks)
            self.add(op, self.blocks, size)
            self.blocks += 1
        else:
            self.add(op, NONE, size, FAILED)

    def realloc(self, address, old, size):
        if old not in self.held and not address:
            self.notes[calls.UNMATCHED_FAILURE] += 1
        elif old not in self.held:
            self.notes[calls.FREED_REALLOC if self.is_freed(old) else calls.UNMATCHED_REALLOC] += 1
            self.released.add(old)
            self.alloc(REALLOC, address, size)
        elif not address:
            self.add(REALLOC, self.held[old], size, FAILED)
        else:
            block = self.held.pop(old)
            self.released.add(old)
            self.acquire(address, block)
            self.add(REALLOC, block, size)


def without_places(notes):
    """The notes without where the first block of a kind was."""
    found = Counter()
    for sentence, count in notes.items():
        found[
            next((each for each in (calls.DOUBLE_FREE, calls.FREED_REALLOC) if sentence.startswith(each)), sentence)
        ] += count
    return found


@given(ROWS)
def test_blocks_are_what_the_model_says(rows):
    notes = Counter()
    events = resolve(calls_of(rows), notes)
    model = Model(rows, Model(rows).repaired)
    assert list(zip(*(column.tolist() for column in events.columns()), strict=True)) == model.events
    assert without_places(notes) == +model.notes
    check(events)


def test_a_block_keeps_its_number_through_a_chain_of_reallocs():
    rows = [(ALLOC, 16, 0, 1, 0)] + [(REALLOC, 16 * (n % 5 + 1), 16 * ((n - 1) % 5 + 1), n, 0) for n in range(1, 1000)]
    events = resolve(calls_of([*rows, (DEALLOC, 0, 16 * (999 % 5 + 1), 0, 0)]), Counter())
    assert set(events.block.tolist()) == {0}


@given(st.from_type(Events), st.data())
def test_events_survive_addresses_that_are_reused(events, data):
    """Give each block any free address, as an allocator would, and forget the blocks."""
    free, where, rows = list(range(16, 16 * 200, 16)), {}, []
    first = set(np.flatnonzero(starts(events)).tolist())
    for index, (op, flags, log2_align, thread, block, size, count, time, site) in enumerate(
        zip(*(column.tolist() for column in events.columns()), strict=True)
    ):
        old = where.get(block, 0)
        gets = index in first or (op == REALLOC and block in where and not flags & FAILED)
        if gets:
            where[block] = free.pop(data.draw(st.integers(0, min(3, len(free) - 1))))
        ends = where[block] if gets else 0, old if op in (REALLOC, DEALLOC) else 0
        rows.append((op, log2_align, thread, *ends, size, count, time, site))
        if old and (gets or op == DEALLOC):
            free.insert(0, old)
    names = "op", "log2_align", "thread", "address", "old", "size", "count", "time", "site"
    columns = dict(zip(names, zip(*rows, strict=True) if rows else [()] * 9, strict=True))
    again = resolve(Calls.in_order(**columns), notes := Counter())
    assert not notes
    assert replace(summarize(events), inherited=0) == summarize(again)
    assert np.array_equal(again.block, events.block)
    assert np.array_equal(again.log2_align, events.log2_align)
    assert np.array_equal(again.count, events.count)
    assert np.array_equal(again.time, events.time)
    assert np.array_equal(again.site, events.site)


FIRST, SECOND = 0x10, 0x20


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [(ALLOC, FIRST, 0, 9, 5), (DEALLOC, 0, FIRST, 0, 5), (DEALLOC, 0, FIRST, 0, 5)],
            "double frees, dropped: block 0x10, freed at event 2 by thread 0 and again after event 2 by thread 0",
        ),
        (
            [(ALLOC, FIRST, 0, 9, 5), (ALLOC, SECOND, 0, 9, 7), (DEALLOC, 0, FIRST, 0, 7), (DEALLOC, 0, SECOND, 0, 7),
             (DEALLOC, 0, FIRST, 0, 5), (DEALLOC, 0, SECOND, 0, 5)],
            "double frees, dropped; the first: "
            "block 0x10, freed at event 3 by thread 1 and again after event 4 by thread 0",
        ),
        (
            [(DEALLOC, 0, FIRST, 0, 5), (ALLOC, SECOND, 0, 1, 7), (DEALLOC, 0, FIRST, 0, 7)],
            "double frees, dropped: "
            "block 0x10, freed after event 0 by a thread without events and again after event 1 by thread 0",
        ),
        (
            [(ALLOC, FIRST, 0, 9, 5), (REALLOC, SECOND, FIRST, 9, 5), (DEALLOC, 0, FIRST, 0, 5)],
            "double frees, dropped: block 0x10, freed at event 2 by thread 0 and again after event 2 by thread 0",
        ),
        (
            [(ALLOC, FIRST, 0, 9, 5), (DEALLOC, 0, FIRST, 0, 5), (REALLOC, SECOND, FIRST, 9, 5)],
            "reallocs of freed blocks, kept as new blocks: "
            "block 0x10, freed at event 2 by thread 0 and reallocated at event 3 by thread 0",
        ),
    ],
)  # fmt: skip
def test_a_double_free_is_told_with_its_places(rows, expected):
    notes = Counter()
    check(resolve(calls_of(rows), notes))
    assert expected in notes
    assert calls.UNMATCHED_FREE not in notes or rows[0][0] == DEALLOC


def test_no_double_free_is_told_where_calls_are_missing():
    rows = [(ALLOC, FIRST, 0, 9, 5), (DEALLOC, 0, FIRST, 0, 5), (DEALLOC, 0, FIRST, 0, 5)]
    resolve(calls_of(rows), notes := Counter(), is_whole=False)
    assert notes == {calls.UNMATCHED_FREE: 1}


def test_no_double_free_is_told_where_the_order_is_in_doubt():
    rows = [(ALLOC, FIRST, 0, 9, 5), (ALLOC, FIRST, 0, 9, 7), (DEALLOC, 0, FIRST, 0, 5), (DEALLOC, 0, FIRST, 0, 7)]
    resolve(calls_of(rows), notes := Counter())
    assert notes == {calls.MISSING_FREE: 1, calls.UNMATCHED_FREE: 1}
