"""Looking at Hoard's superblocks: the spans of one for `walk`, all lists, and what `check` asks of one.

Free lists are in no order and `walk` has no sets, so it looks at a window of objects at a time.
"""

from __future__ import annotations

from heapwright.allocators.chains import chain_of
from heapwright.allocators.hoard_superblocks import EMPTY, LISTS, PARTLY_FULL, SUPERBLOCK, first_of
from heapwright.allocators.hoard_threads import BUFFERED, PROCESSORS, limit_of, remote_limit_of
from heapwright.allocators.large_objects import ranges_kept
from heapwright.allocators.size_classes import size_of_class
from heapwright.allocators.window import WINDOW, bit_for
from heapwright.bits import bit
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED


def walk_superblock(heap, superblock):
    """The header, each object, and what was never handed out."""
    first, size = first_of(superblock), superblock.object_size
    yield superblock.address, first - superblock.address, OWN
    free = cached = seen = 0
    for place in range(first, superblock.bump, size):
        if seen == 0:
            free = window(superblock.free, place, size)
            cached = buffered_window(heap, superblock, place)
        kind = FREE if free & bit(seen) else CACHED if cached & bit(seen) else USED
        yield place, size, kind
        seen = (seen + 1) % WINDOW
    if superblock.bump < superblock.address + SUPERBLOCK:
        yield superblock.bump, superblock.address + SUPERBLOCK - superblock.bump, UNUSED


def window(chain, start, size):
    """Which of the WINDOW objects from `start` on are in a chain, as bits."""
    found = 0
    while chain:
        found |= bit_for(chain.address, start, size)
        chain = chain.next
    return found


def buffered_window(heap, superblock, start):
    found = 0
    thread = heap.roster.youngest
    while thread:
        found |= window(thread.buffers[superblock.size_class].first, start, superblock.object_size)
        found |= window(thread.remote[superblock.size_class].first, start, superblock.object_size)
        thread = thread.older
    return found


# --- lists


def lists(heap):
    """Yield (name, addresses) for the superblocks of each heap by fullness, their free objects, and the buffers."""
    for number in range(1 + PROCESSORS):
        for i, superblock in first_ones(heap.processors[number]):
            chain = list(chain_of(superblock))
            yield f"heap {number}, {fullness(i)}", [each.address for each in chain]
            for each in chain:
                yield f"objects of superblock {each.address:#x}", free_in(each)
    for thread in threads_of(heap):
        for i in range(BUFFERED):
            name = f"thread {thread.address:#x}, {{}} of {size_of_class(i)} bytes"
            yield name.format("buffer"), addresses_in(thread.buffers[i])
            yield name.format("remote frees"), addresses_in(thread.remote[i])
    yield "large objects kept", [large.address for large in ranges_kept(heap.large)]


def first_ones(owner):
    """The first superblock of each list of a heap that is not empty, with its list."""
    return [(i, owner.lists[i]) for i in range(LISTS) if owner.lists[i]]


def fullness(i):
    """What the superblocks of a list have in common."""
    if i < PARTLY_FULL:
        return "empty" if i == EMPTY else "full"
    return f"{size_of_class((i - PARTLY_FULL) // 4)} bytes, {(i - PARTLY_FULL) % 4}/4 full"


# --- for check alone


def superblocks_of(owner):
    """Each superblock in the lists of a heap, with its list."""
    for i in range(LISTS):
        for superblock in chain_of(owner.lists[i]):
            yield i, superblock


def threads_of(heap):
    thread = heap.roster.youngest
    while thread:
        yield thread
        thread = thread.older


def free_in(superblock):
    return [each.address for each in chain_of(superblock.free)]


def buffered_in(heap, superblock):
    """The buffered objects, of all threads, that lie in a superblock."""
    i = superblock.size_class
    chains = [addresses_in(buffer) for thread in threads_of(heap) for buffer in (thread.buffers[i], thread.remote[i])]
    return [address for chain in chains for address in chain if 0 < address - superblock.address < SUPERBLOCK]


def addresses_in(buffer):
    return [each.address for each in chain_of(buffer.first)]


def buffers_hold(thread):
    """Whether what a thread buffers and the room for more make up the limits."""
    limits = [(thread.buffers[i], limit_of(i)) for i in range(BUFFERED)]
    limits += [(thread.remote[i], remote_limit_of(i)) for i in range(BUFFERED)]
    return all(len(addresses_in(buffer)) + buffer.room == limit for buffer, limit in limits)
