"""Wright's ranges of whole megabytes: huge blocks in use, and kept ranges. Each begins at a multiple of 1 MiB.

No block of a segment lies at such an address, so there is no room for a header. The records are elsewhere, and a hash
table leads to them:

      record -> +--------------------+
              0 | next in the bucket |
              8 | start, size        |  of the mapping, in bytes
             24 | is kept, is fresh  |  whether it is free; whether it is still full of the kernel's zeros
             40 | next, previous     |  among the kept ones, the highest first
             56 | asked, pattern     |  in a hardened heap: the size asked for, and the word behind it (huge_ends)
                +--------------------+

Page faults dominate the cost of huge blocks, so freed ranges are kept for later requests. A freed one is extended to a
multiple of 1 MiB, for kept ranges that touch merge.
A request takes the lower part of the range that fits best, up to a multiple of 1 MiB, and so does a segment. What is
too much (reserve) goes back to the kernel, from the highest range on. If the kernel refuses to unmap a range, its
frames are released and it stays kept. A hardened heap protects the start of what it keeps: an access there faults.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import mappings
from heapwright.allocators.wright import hardened, records, reserve
from heapwright.layout import NULL, Array, Struct, Word

BUCKETS = 64
NOTES_MAGIC = 0x5716_0A11_F0E1_0003
MAX_RANGES = 64
LOG2_MISFIT = 3
CLOSED = 1 << 17  # bytes at the start of a kept range: to close all of it takes a hundred microseconds
LOG2_SEGMENT = bits.floor_log2(records.SEGMENT)


class Range(Struct):
    chain: Range
    start: Word
    size: Word
    is_kept: Word
    is_fresh: Word
    next: Range
    previous: Range
    asked: Array[Word, hardened.HARDENED]
    pattern: Array[Word, hardened.HARDENED]


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
    records: Word  # of ranges, used and unused


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
        heap.huge.records += 1
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


def widen(heap, freed):
    """Extend a range to a multiple of 1 MiB, so that it touches the next one; the kernel may refuse."""
    whole = bits.align_up(freed.size, records.SEGMENT)
    if whole != freed.size and heap.memory.mremap(freed.start, freed.size, whole, 0) != -1:
        freed.size = whole


def keep(heap, freed):
    """Keep a range, and merge it with its neighbours."""
    if hardened.IS_HARDENED:
        # If the kernel refuses, accesses are not noticed.
        heap.memory.protect(freed.start, min(freed.size, CLOSED), 1)
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
    """Take the lower part of a kept range; null if none is large enough, or if it cannot be opened."""
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
    if hardened.IS_HARDENED and heap.memory.protect(found.start, found.size, 0) == -1:
        keep(heap, found)
        return found.at(NULL)
    reserve.note_use(heap)
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
    """The bytes that may be kept: with the live ones not much more than the peak, since few ranges fit exactly."""
    return max(huge.peak + (huge.peak >> LOG2_MISFIT) + records.SEGMENT - huge.live, 0)


def is_over_bound(huge):
    return huge.ranges > MAX_RANGES or huge.kept > bound(huge)


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
    reserve.note_gone(heap, size)
    if kept.size == 0:
        unlink(heap.huge, kept)
        forget(heap, kept)
    return size


def release_frames(heap, kept):
    """Release the frames of a kept range, once; return their bytes."""
    if kept.is_fresh != 0 or heap.memory.decommit(kept.start, kept.size) == -1:
        return 0
    kept.is_fresh = 1
    reserve.note_gone(heap, kept.size)
    return kept.size


# --- the kernel


def map_range(heap, size, boundary):
    """Map a range; null when the kernel refuses, even after the kept ranges are unmapped."""
    start = mappings.map_at_multiple(heap.memory, size, boundary)
    if start == NULL and evict(heap, 0) > 0:
        start = mappings.map_at_multiple(heap.memory, size, boundary)
    if start == NULL:
        return heap.huge.unused.at(NULL)
    reserve.note_fresh(heap, size, reserve.HUGE)
    found = note(heap, start, size)
    found.is_fresh = 1
    return found


def count(heap, blocks, size):
    """Count huge blocks in use, and their bytes."""
    huge = heap.huge
    huge.blocks += blocks
    huge.live += size
    huge.peak = max(huge.peak, huge.live)
    reserve.note_live(heap)
