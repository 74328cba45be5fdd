"""Wright's reserve: the free memory that stays resident, and how long.

    live      runs of tiles and huge blocks in use
    reserve   dirty tiles and kept ranges: free, but their frames are still there

A block that is served from the reserve costs no page fault. But a program that has just drained its heap may never need
the memory again, and it may not call the allocator again either. So the reserve is small at first, 512 KiB and a
thirty-second of what is live, and whatever exceeds it goes back to the kernel at once. A small heap, of up to 8 MiB
with its reserve, keeps as much as was live at its peak, because there is little to gain. The reserve grows only when a
release was wrong:

    released  ->  needed again in the same epoch  ->  the credit grows by a quarter; for a huge block, by half
    an epoch ends                                 ->  the credit shrinks to what came and went in it

A heap that swings by 100 MiB thus pays for four swings in all and keeps the memory from then on; one that drains keeps
little. Threads that fill and drain one after another look like swings, and therefore it takes more than one. What huge
blocks move counts twice: few kept ranges fit a request, so a reserve in full use does not swing to its ends. This is
the working set of a reap (J. Bonwick, The Slab Allocator, 1994), except that only a mistake makes it grow.

An epoch is a fifth of a second. If huge blocks are freed in it, it lasts until there were 256 of them, or five seconds:
a program that writes to all of a huge block, or waits for a busy machine, frees few in a fifth of a second. For the
same reason such an epoch ends no more than half of the credit. The clock is read only where memory is released, or
fresh memory is taken soon after. In the machine it stands still, so an epoch lasts until a test ends it. The caller of
every function here holds the lock of `pages`.
"""

from __future__ import annotations

from heapwright.allocators.wright import records
from heapwright.layout import Struct, Word

SMALL_HEAP = 1 << 23  # bytes: a heap with at most so many, and no more than were live at its peak, gives nothing back
SLACK = 1 << 19  # bytes that may always stay
LOG2_SHARE = 5  # and a thirty-second of the live ones
LOG2_EXCESS = 2  # a release makes room for a quarter of what may stay
TILES, HUGE = 2, 1  # a quarter of what was released by mistake may stay next time, or a half: binary logarithms
EPOCH = 200_000_000  # nanoseconds
LONGEST_EPOCH = 25 * EPOCH
FREES = 256  # of huge blocks: so many show what is needed


class Reserve(Struct):
    credit: Word  # bytes that may stay besides, because they were needed again
    released: Word  # bytes released in this epoch and not needed again
    least: Word  # the fewest bytes of the reserve in this epoch
    most: Word  # and the most, when it was last compared with what may stay
    since: Word  # the clock when the epoch began
    frees: Word  # of huge blocks in this epoch
    gone: Word  # bytes that ever went back to the kernel
    peak: Word  # the most bytes that were ever live


def live(heap):
    return (heap.pages.taken.load() << records.LOG2_TILE) + heap.huge.live


def size(heap):
    """The bytes of the reserve."""
    return dirty_bytes(heap) + heap.huge.kept


def dirty_bytes(heap):
    return heap.pages.dirty << records.LOG2_TILE


def may_stay(heap):
    """The bytes that the reserve may have, without the credit."""
    in_use = live(heap)
    return max((in_use >> LOG2_SHARE) + SLACK, min(heap.reserve.peak, SMALL_HEAP) - in_use)


def is_exceeded(heap):
    """Whether the reserve is too large. The clock is read only if the answer depends on the credit."""
    heap.reserve.most = max(heap.reserve.most, size(heap))
    if size(heap) <= may_stay(heap):
        return False
    end_epoch_if_over(heap)
    return size(heap) > may_stay(heap) + heap.reserve.credit


def target(heap):
    """The bytes to which a release reduces the reserve: fewer than may stay, so that releases are rare."""
    most = may_stay(heap) + heap.reserve.credit
    return most - (most >> LOG2_EXCESS)


def end_epoch_if_over(heap):
    reserve, now = heap.reserve, heap.memory.clock()
    if is_over(reserve, now - reserve.since):
        reserve.credit = min(reserve.credit, needed(reserve))
        reserve.least = size(heap)
        reserve.most = size(heap)
        reserve.released = 0
        reserve.frees = 0
        reserve.since = now


def needed(reserve):
    """What came and went in the epoch; if huge blocks did, twice as much, and at least half of the credit."""
    came_and_went = reserve.most - reserve.least
    return max(came_and_went << 1, reserve.credit >> 1) if reserve.frees > 0 else came_and_went


def is_over(reserve, lasted):
    """Whether an epoch is over that lasted so many nanoseconds."""
    return lasted >= LONGEST_EPOCH or (lasted >= EPOCH and (reserve.frees == 0 or reserve.frees >= FREES))


def note_gone(heap, size):
    """Note bytes of the reserve that went back to the kernel."""
    heap.reserve.gone += size
    note_use(heap)


def note_live(heap):
    """Note that more is live."""
    heap.reserve.peak = max(heap.reserve.peak, live(heap))


def note_use(heap):
    """Note that the reserve has become smaller."""
    heap.reserve.least = min(heap.reserve.least, size(heap))


def note_fresh(heap, taken, lesson):
    """Note bytes that the kernel must fill with zeros; a release in this epoch was wrong by as much.

    `lesson` is TILES or HUGE. Tiles teach less, because threads that fill and drain in turn need many of them.
    """
    reserve = heap.reserve
    if taken > 0 and reserve.released > 0:
        end_epoch_if_over(heap)
        regretted = min(taken, reserve.released)
        reserve.released -= regretted
        reserve.credit += regretted >> lesson
