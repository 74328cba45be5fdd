"""Huge blocks: more than 512 KiB, or aligned to that much. Each has a mapping at a multiple of 1 MiB.

No block of a segment lies there, so the address alone says that a block is huge. The records are elsewhere, and a hash
table leads to them:

      record -> +--------------------+
              0 | next in the bucket |
              8 | start, size        |  of the mapping, in bytes
             24 | is kept, is fresh  |  whether it is free; whether it is still full of the kernel's zeros
             40 | next, previous     |  among the kept ones, the highest first
                +--------------------+

Page faults dominate the cost of huge blocks, so freed ranges are kept for later requests. Kept ranges that touch merge.
A request takes the lower part of the range that fits best, up to a multiple of 1 MiB, and so does a segment. Live and
kept bytes together never exceed the peak of the live ones, and kept ones never exceed half of it and 1 MiB. What is too
much goes back to the kernel, from the highest range on. If the kernel refuses to unmap a range, its frames are released
and it stays kept.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.parts import mappings
from heapwright.allocators.wright import records
from heapwright.layout import NULL, Array, Struct, Word

BUCKETS = 64
NOTES_MAGIC = 0x5716_0A11_F0E1_0003
SLOP = 1 << 20
MAX_RANGES = 64
LOG2_SEGMENT = bits.floor_log2(records.SEGMENT)


class Range(Struct):
    chain: Range
    start: Word
    size: Word
    is_kept: Word
    is_fresh: Word
    next: Range
    previous: Range


class Notes(Struct):
    """The header of a mapping that holds records of ranges."""

    nothing: Word
    magic: Word  # where a home has its own
    size: Word


class Huge(Struct):
    buckets: Array[Range, BUCKETS]
    first: Range  # the highest kept range
    unused: Range
    ranges: Word  # number of kept ranges
    kept: Word  # bytes
    live: Word  # bytes of the mappings in use
    blocks: Word  # in use
    peak: Word  # of `live`


# --- records of ranges


def bucket_of(address):
    return bits.shift_right(address, LOG2_SEGMENT) & (BUCKETS - 1)


def find(heap, address):
    """The record of the range that begins at an address; null if none does."""
    found = heap.huge.buckets[bucket_of(address)]
    while found and found.start != address:
        found = found.chain
    return found


def note(heap, start, size):
    """Enter a range with an unused record, which there is: see has_record."""
    found = heap.huge.unused
    heap.huge.unused = found.chain
    bucket = bucket_of(start)
    found.start = start
    found.size = size
    found.is_fresh = 0
    found.chain = heap.huge.buckets[bucket]
    heap.huge.buckets[bucket] = found
    return found


def forget(heap, gone):
    """Remove the record of a range."""
    bucket = bucket_of(gone.start)
    before = heap.huge.buckets[bucket]
    if before == gone:
        heap.huge.buckets[bucket] = gone.chain
    else:
        while before.chain != gone:
            before = before.chain
        before.chain = gone.chain
    gone.chain = heap.huge.unused
    heap.huge.unused = gone


def has_record(heap):
    """Whether there is an unused record, after mapping some more if necessary."""
    return bool(heap.huge.unused) or map_notes(heap)


def map_notes(heap):
    size = heap.memory.PAGE
    start = heap.memory.mmap(size)
    if start == -1:
        return False
    notes = Notes(heap.memory, start)
    notes.magic = NOTES_MAGIC
    notes.size = size
    for place in range(start + Range.SIZE, start + size - Range.SIZE + 1, Range.SIZE):
        unused = Range(heap.memory, place)
        unused.chain = heap.huge.unused
        heap.huge.unused = unused
    return True


# --- the kept ranges


def link(huge, kept):
    """Insert a range into the list, the highest first."""
    above, below = kept.at(NULL), huge.first
    while below and below.start > kept.start:
        above = below
        below = below.next
    kept.previous = above
    kept.next = below
    if above:
        above.next = kept
    else:
        huge.first = kept
    if below:
        below.previous = kept
    kept.is_kept = 1
    huge.ranges += 1
    huge.kept += kept.size


def unlink(huge, kept):
    if kept.next:
        kept.next.previous = kept.previous
    if kept.previous:
        kept.previous.next = kept.next
    else:
        huge.first = kept.next
    kept.is_kept = 0
    huge.ranges -= 1
    huge.kept -= kept.size


def absorb(heap, lower):
    """Merge a kept range with the next higher one, if they touch."""
    upper = lower.previous
    if upper and upper.start == lower.start + lower.size:
        unlink(heap.huge, upper)
        lower.size += upper.size
        heap.huge.kept += upper.size
        lower.is_fresh &= upper.is_fresh
        forget(heap, upper)


def keep(heap, freed):
    """Keep a range, and merge it with its neighbours."""
    link(heap.huge, freed)
    absorb(heap, freed)
    if freed.next:
        absorb(heap, freed.next)


def best_fit(huge, size):
    """The smallest kept range of at least `size` bytes; null if there is none."""
    best, kept = huge.first.at(NULL), huge.first
    while kept:
        if kept.size >= size and (not best or kept.size < best.size):
            best = kept
        kept = kept.next
    return best


def take_kept(heap, size):
    """Take the lower part of a kept range; null if none is large enough."""
    huge, whole = heap.huge, bits.align_up(size, records.SEGMENT)
    found = best_fit(huge, size)
    if not found:
        return found
    unlink(huge, found)
    if found.size > whole:
        rest = note(heap, found.start + whole, found.size - whole)
        rest.is_fresh = found.is_fresh
        found.size = whole
        link(huge, rest)
    return found


def take_segment(heap):
    """The start of 1 MiB from a kept range, and whether it is full of zeros; NULL if there is none."""
    if not has_record(heap):
        return NULL, 0
    found = take_kept(heap, records.SEGMENT)
    if not found:
        return NULL, 0
    start, fresh = found.start, found.is_fresh
    forget(heap, found)
    return start, fresh


def keep_segment(heap, start):
    """Keep a segment that has no runs. The caller knows that there is a record."""
    keep(heap, note(heap, start, records.SEGMENT))


def bound(huge):
    """The bytes that may be kept."""
    return max(min(huge.peak - huge.live, (huge.peak >> 1) + SLOP), 0)


def evict(heap, most):
    """Unmap kept ranges, the highest first, until at most `most` bytes are kept; return the bytes released."""
    huge, released = heap.huge, 0
    kept = huge.first
    while kept and (huge.kept > most or huge.ranges > MAX_RANGES):
        below, excess = kept.next, bits.align_up(max(huge.kept - most, 0), records.SEGMENT)
        released += unmap_upper(heap, kept, min(excess, kept.size) if huge.ranges <= MAX_RANGES else kept.size)
        kept = below
    return released


def unmap_upper(heap, kept, size):
    """Unmap the upper part of a kept range, or release its frames if the kernel refuses; return the bytes released."""
    start = kept.start + kept.size - size
    if heap.memory.munmap(start, size) == -1:
        return release_frames(heap, kept)
    heap.huge.kept -= size
    kept.size -= size
    if kept.size == 0:
        unlink(heap.huge, kept)
        forget(heap, kept)
    return size


def release_frames(heap, kept):
    """Release the frames of a kept range, once; return their bytes."""
    if kept.is_fresh != 0 or heap.memory.decommit(kept.start, kept.size) == -1:
        return 0
    kept.is_fresh = 1
    return kept.size


# --- huge blocks; callers have no lock


def alloc_huge(heap, size, align):
    """Allocate a huge block; return its address, or NULL when memory is exhausted."""
    huge, whole = heap.huge, bits.align_up(size, heap.memory.PAGE)
    locks.acquire(heap.memory, heap.pages.lock)
    found = huge.unused.at(NULL)
    if has_record(heap):
        if align <= records.SEGMENT:
            found = take_kept(heap, whole)
        if not found:
            found = map_range(heap, whole, max(align, records.SEGMENT))
    if found:
        count(huge, 1, found.size)
        evict(heap, bound(huge))
    locks.release(heap.memory, heap.pages.lock)
    return found.start if found else NULL


def map_range(heap, size, boundary):
    """Map a range; null when the kernel refuses, even after the kept ranges are unmapped."""
    start = mappings.map_at_multiple(heap.memory, size, boundary)
    if start == NULL and evict(heap, 0) > 0:
        start = mappings.map_at_multiple(heap.memory, size, boundary)
    if start == NULL:
        return heap.huge.unused.at(NULL)
    found = note(heap, start, size)
    found.is_fresh = 1
    return found


def count(huge, blocks, size):
    huge.blocks += blocks
    huge.live += size
    huge.peak = max(huge.peak, huge.live)


def dealloc_huge(heap, address):
    locks.acquire(heap.memory, heap.pages.lock)
    freed = live_huge(heap, address)
    count(heap.huge, -1, -freed.size)
    freed.is_fresh = 0
    keep(heap, freed)
    evict(heap, bound(heap.huge))
    locks.release(heap.memory, heap.pages.lock)


def live_huge(heap, address):
    """The record of a huge block in use; report any other address."""
    found = find(heap, address)
    if not found:
        heap.memory.fault("not a block of this heap", address)
    if found.is_kept != 0:
        heap.memory.fault("double free", address)
    return found


def huge_size(heap, address):
    locks.acquire(heap.memory, heap.pages.lock)
    size = live_huge(heap, address).size
    locks.release(heap.memory, heap.pages.lock)
    return size


def is_zero(heap, address):
    """Whether a huge block that was just allocated is full of zeros."""
    locks.acquire(heap.memory, heap.pages.lock)
    fresh = live_huge(heap, address).is_fresh
    locks.release(heap.memory, heap.pages.lock)
    return fresh != 0


def resize_huge(heap, address, size):
    """Resize the mapping in place; False if the kernel refuses, for example because another mapping is in the way."""
    whole = bits.align_up(size, heap.memory.PAGE)
    locks.acquire(heap.memory, heap.pages.lock)
    found = live_huge(heap, address)
    done = whole == found.size or heap.memory.mremap(address, found.size, whole, 0) != -1
    if done:
        count(heap.huge, 0, whole - found.size)
        found.size = whole
        evict(heap, bound(heap.huge))
    locks.release(heap.memory, heap.pages.lock)
    return done
