"""Whether what a caller is about to write fits into the block that it begins in.

A compiled library asks this before `memcpy` and its relatives write, as snmalloc's guarded memcpy does. An address that
is in no segment is none of wright's business: a stack, static data, a huge block. If two segments share a word of the
table, the one that is not in it is not looked at, because these functions take no lock.

Half of all copies have fewer bytes than a seal. They are not looked at, because they cannot get over one.

Source: snmalloc, docs/security/GuardedMemcpy.md.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.wright import classes, hardened, known_segments, records, seals

NO_BLOCK = -1 << 40  # instead of a number of bytes


def expect_room(heap, address, size):
    """Report that a caller, who is about to write `size` bytes at an address of ours, has no room for them there."""
    if not bits.unsigned_less(size, hardened.SEAL) and known_segments.is_first(heap, address):
        left = bytes_left(heap, address)
        if left < 0 or bits.unsigned_less(left, size):
            report(heap, address)


def bytes_left(heap, address):
    """The bytes from an address of a segment to the end of its live block; negative behind that end, and elsewhere."""
    offset = records.offset_of(address)
    record = records.record_at(heap, address, offset)
    tag = record.tag.load()
    if offset == 0 or tag <= records.FREE_TAG:
        return left_in_large(record, address)
    room = tag & (records.HOME_BOUNDARY - 1)  # of a linear class, whose slabs have one tile
    if room <= classes.MAX_LINEAR:
        return left_in_small(heap, record, room, address & (records.TILE - 1), address)
    slab = records.head_of(record)
    return left_in_small(heap, slab, slab.size, address - records.start_of(slab), address)


def left_in_small(heap, slab, room, place, address):
    """The same for an address at a place in a slab."""
    number = number_at(heap, slab, place)
    if number >= slab.carved:
        return NO_BLOCK
    start = number * room - place
    word = seals.seal_of(heap.memory, address + start, room).word.load()
    return start + seals.size_in(hardened.key_of(heap.memory, address), word) if word != 0 else NO_BLOCK


def left_in_large(record, address):
    """The same in a large block. The segment's own records have no tag, but its magic number in this place."""
    if record.tag.load() != records.LARGE_TAG:
        return NO_BLOCK
    run = records.head_of(record)
    return NO_BLOCK if run.state == records.SPARE else records.start_of(run) + run.left - address


def number_at(heap, slab, place):
    """The number of the block at a place in its slab."""
    return known_segments.quotient(heap, records.class_in(slab), place)


def report(heap, address):
    """Say where the bytes would go."""
    left = bytes_left(heap, address)
    if left == NO_BLOCK:
        heap.memory.fault("written to free memory", address)
    run = records.head_of(records.record_of(heap, address))
    block = records.start_of(run)
    if records.is_slab(run):
        block += number_at(heap, run, address - block) * run.size
    heap.memory.fault("written behind its end", block, address + left - block)
