"""From addresses to blocks, against a model that goes call by call with a dictionary."""

from collections import Counter
from dataclasses import replace

import numpy as np
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
    """The events of rows that follow each other, whatever nonsense they are."""

    def __init__(self, rows):
        self.held, self.blocks, self.events, self.notes, self.threads = {}, 0, [], Counter(), {}
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
        elif old in self.held:
            self.add(op, self.held.pop(old))
        else:
            self.notes[calls.UNMATCHED_FREE] += 1

    def add(self, op, block=NONE, size=0, flags=0):
        thread = self.threads.setdefault(self.thread, len(self.threads))
        self.events.append((op, flags, 0, thread, block, size))

    def acquire(self, address, block):
        if address in self.held:
            self.notes[calls.MISSING_FREE] += 1
            self.add(DEALLOC, self.held[address])
        self.held[address] = block

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
            self.notes[calls.UNMATCHED_REALLOC] += 1
            self.alloc(REALLOC, address, size)
        elif not address:
            self.add(REALLOC, self.held[old], size, FAILED)
        else:
            block = self.held.pop(old)
            self.acquire(address, block)
            self.add(REALLOC, block, size)


@given(ROWS)
def test_blocks_are_what_the_model_says(rows):
    notes = Counter()
    events = resolve(calls_of(rows), notes)
    model = Model(rows)
    assert list(zip(*(column.tolist() for column in events.columns()), strict=True)) == model.events
    assert notes == +model.notes
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
    for index, (op, flags, log2_align, thread, block, size) in enumerate(
        zip(*(column.tolist() for column in events.columns()), strict=True)
    ):
        old = where.get(block, 0)
        gets = index in first or (op == REALLOC and block in where and not flags & FAILED)
        if gets:
            where[block] = free.pop(data.draw(st.integers(0, min(3, len(free) - 1))))
        rows.append((op, log2_align, thread, where[block] if gets else 0, old if op in (REALLOC, DEALLOC) else 0, size))
        if old and (gets or op == DEALLOC):
            free.insert(0, old)
    names = "op", "log2_align", "thread", "address", "old", "size"
    columns = dict(zip(names, zip(*rows, strict=True) if rows else [()] * 6, strict=True))
    again = resolve(Calls.in_order(**columns), notes := Counter())
    assert not notes
    assert replace(summarize(events), inherited=0) == summarize(again)
    assert np.array_equal(again.block, events.block)
    assert np.array_equal(again.log2_align, events.log2_align)
