"""Whether what a caller is about to write fits into the block that it begins in.

A compiled library asks this before `memcpy` and its relatives write, as snmalloc's guarded memcpy does. An address that
is in no segment is none of wright's business: a stack, static data, a huge block. If two segments share a word of the
table, the one that is not in it is not looked at, because these functions take no lock.

Source: snmalloc, docs/security/GuardedMemcpy.md.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.wright import hardened, known_segments, records, seals

NO_BLOCK = -1 << 40  # instead of a number of bytes


def expect_room(heap, address, size):
    """Report that a caller, who is about to write `size` bytes at an address of ours, has no room for them there."""
    if known_segments.is_first(heap, address):
        left = bytes_left(heap, address)
        if left < 0 or bits.unsigned_less(left, size):
            report(heap, address, size)


def bytes_left(heap, address):
    """The bytes from an address of a segment to the end of its live block; negative behind that end, and elsewhere."""
    offset = records.offset_of(address)
    record = records.record_at(heap, address, offset)
    if offset == 0 or not records.is_slab(record):
        return left_in_large(record, address)
    slab = records.head_of(record)
    number = number_in(heap, slab, address)
    block = records.start_of(slab) + number * slab.size
    if number >= slab.carved:
        return NO_BLOCK
    word = seals.seal_of(heap.memory, block, slab.size).word.load()
    return block + seals.size_in(hardened.key_of(heap.memory, address), word) - address if word != 0 else NO_BLOCK


def left_in_large(record, address):
    """The same in a large block. The segment's own records have no tag, but its magic number in this place."""
    if record.tag.load() != records.LARGE_TAG:
        return NO_BLOCK
    run = records.head_of(record)
    return NO_BLOCK if run.state == records.SPARE else records.start_of(run) + run.left - address


def number_in(heap, slab, address):
    """The number of the block in its slab."""
    return (address - records.start_of(slab)) * heap.known.inverses[records.class_in(slab)] >> hardened.LOG2_INVERSE


def report(heap, address, size):
    """Say where the bytes would go, unless there are none."""
    left, record = bytes_left(heap, address), records.record_of(heap, address)
    if size != 0 and left == NO_BLOCK:
        heap.memory.fault("written to free memory", address)
    if size != 0:
        run = records.head_of(record)
        block = records.start_of(run)
        if records.is_slab(record):
            block += number_in(heap, run, address) * run.size
        heap.memory.fault("written behind its end", block, address + left - block)
