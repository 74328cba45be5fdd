"""The holder's job file: a head, which also takes the results, the flat events, and a group for each slot.

Both sides read it through this struct, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Inline, Struct, Word
from heapwright.native.jobs.claim import Claim

NO_LIMIT = -1
MAX_GROUPS = 64
NO_GROUP = -1
STARTED, REACHED, RELEASED = 83, 82, 71  # what the holder writes to its output, as letters: S, R, G


class Held(Struct):
    """A row of the holder's table: a live block, and its usable bytes."""

    block: Word
    usable: Word  # UNREPORTED if the malloc does not say


class Group(Struct):
    """The group of a slot's block, or NO_GROUP."""

    number: Word


class HoldJob(Struct):
    claim: Inline[Claim]
    events: Word  # in the file
    stop: Word  # events to do
    slots: Word
    limit: Word  # bytes of private writable memory to allow beyond those before the first event; or NO_LIMIT
    is_held: Word  # stop before the first event and after the last one, until a letter arrives
    groups: Word  # to release, one after the other
    data_before: Word  # bytes of private writable memory before the first event
    data: Word  # after the last one
    is_ignored: Word  # the kernel does not enforce the limit
    done: Word  # events that succeeded
    has_failed: Word  # the next one was refused
    table: Word  # the address of the first slot's row
    released: Array[Word, MAX_GROUPS + 1]  # resident bytes that go with each group alone; then those that go without
