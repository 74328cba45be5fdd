"""Hoard's heaps: one for each few threads, and the global heap through which they pass superblocks.

Locks are taken in this order: a processor's heap, the global heap, the store. An object in use keeps its
superblock from being moved twice under the thread that frees it: lock the owner, then look whether it still is.
"""

from __future__ import annotations

from heapwright.allocators.hoard_superblocks import (
    EMPTY,
    SUPERBLOCK,
    Object,
    Superblock,
    emptiest,
    format_superblock,
    fullest,
    is_full,
    join,
    leave,
    pop,
    push,
    relist,
    reset_reap,
    superblock_of,
)
from heapwright.allocators.large_objects import trim_large
from heapwright.allocators.mappings import map_aligned
from heapwright.layout import NULL, Atomic, Struct, Word
from heapwright.locks import acquire, release

SLACK = 16 * SUPERBLOCK  # K * S: what a heap may hold unused, which has superblocks of up to 39 classes
CHUNK = 16 * SUPERBLOCK  # mapped at a time
KEPT = 1 << 20  # bytes that may be kept empty, beside a quarter of all that is held


class Store(Struct):
    """Where superblocks come from: the rest of the last chunk, and how much there is of them."""

    lock: Atomic[Word]
    fresh: Word
    end: Word
    held: Atomic[Word]  # bytes of superblocks


# --- the kernel


def new_superblock(heap):
    """The next superblock of the chunk, unformatted; null when memory is exhausted."""
    store = heap.store
    acquire(heap.memory, store.lock)
    if store.fresh == store.end:
        map_chunk(heap, store)
    superblock = Superblock(heap.memory, NULL)
    if store.fresh != store.end:
        superblock = superblock.at(store.fresh)
        store.fresh += SUPERBLOCK
        store.held.add(SUPERBLOCK)
    release(heap.memory, store.lock)
    return superblock


def map_chunk(heap, store):
    """Map a chunk, or at least one superblock; if need be, after large objects that are kept went back."""
    size = CHUNK
    start = map_aligned(heap.memory, size, SUPERBLOCK, 0)
    if start == NULL:
        size = SUPERBLOCK
        start = map_aligned(heap.memory, size, SUPERBLOCK, 0)
    if start == NULL and trim_large(heap) > 0:
        start = map_aligned(heap.memory, size, SUPERBLOCK, 0)
    if start != NULL:
        store.fresh = start
        store.end = start + size


def unmap_empty(heap, kept):
    """Give back empty superblocks of the global heap, which is locked, until at most `kept` bytes remain."""
    common = heap.processors[0]
    while common.empty > kept and unmap(heap, common, common.lists[EMPTY]):
        pass


def unmap(heap, common, superblock):
    """Give an empty superblock back to the kernel; False if it does not take it."""
    leave(common, superblock)
    if heap.memory.munmap(superblock.address, SUPERBLOCK) == -1:
        join(common, superblock)
        return False
    heap.store.held.add(-SUPERBLOCK)
    return True


# --- between a heap and the global heap


def find_superblock(heap, owner, size_class):
    """A superblock of the class with room: fullest first, then any empty one, then from elsewhere."""
    found = fullest(owner, size_class)
    if found:
        return found
    found = owner.lists[EMPTY]
    if not found:
        found = take_superblock(heap, owner, size_class)
    if found and found.size_class != size_class:
        format_superblock(found, size_class)
    return found


def take_superblock(heap, owner, size_class):
    """Make a superblock of the global heap, or else of the kernel, the heap's own; null if there is none."""
    found = take_global(heap, owner, size_class)
    if not found:
        found = new_superblock(heap)
        if found:
            format_superblock(found, size_class)
            join(owner, found)
    if found:
        found.home.store(owner)
        owner.taken += SUPERBLOCK
    return found


def take_global(heap, owner, size_class):
    """Both heaps stay locked meanwhile: whoever frees an object in the superblock must find it in one of them."""
    common = heap.processors[0]
    acquire(heap.memory, common.lock)
    found = fullest(common, size_class)
    if not found:
        found = common.lists[EMPTY]
    if found:
        leave(common, found)
        join(owner, found)
    release(heap.memory, common.lock)
    return found


def is_too_empty(owner, held):
    """Whether u < a - K*S and u < (1 - f) * a, for f = 1/4 and the a that is given."""
    return owner.used < held - SLACK and owner.used < held - (held >> 2)


def settle(heap, owner):
    """After a free: restore the emptiness invariant of a processor's heap, the bound of the global one."""
    owner.taken = 0
    if owner == heap.processors[0]:
        unmap_empty(heap, KEPT + (heap.store.held.load() >> 2))
    else:
        while is_too_empty(owner, owner.held):
            give_superblock(heap, owner, emptiest(owner))


def give_superblock(heap, owner, superblock):
    common = heap.processors[0]
    acquire(heap.memory, common.lock)
    leave(owner, superblock)
    join(common, superblock)
    unmap_empty(heap, KEPT + (heap.store.held.load() >> 2))
    release(heap.memory, common.lock)


# --- objects of a heap


def take_chain(heap, owner, size_class, most):
    """A chain of up to `most` objects and their number; a superblock is fetched for the first one only."""
    acquire(heap.memory, owner.lock)
    chain = Object(heap.memory, NULL)
    count = 0
    superblock = find_superblock(heap, owner, size_class)
    while superblock and count < most:
        before = count
        while count < most and not is_full(superblock):
            found = pop(superblock)
            found.next = chain
            chain = found
            count += 1
        count_used(owner, superblock, (count - before) * superblock.object_size)
        superblock = fullest(owner, size_class)
    release(heap.memory, owner.lock)
    return chain, count


def count_used(owner, superblock, more):
    superblock.used += more
    owner.used += more
    relist(owner, superblock)


def lock_owner(heap, superblock):
    """Lock the heap that owns a superblock, which may change hands while we wait."""
    owner = superblock.owner.load()
    acquire(heap.memory, owner.lock)
    while superblock.owner.load() != owner:
        release(heap.memory, owner.lock)
        owner = superblock.owner.load()
        acquire(heap.memory, owner.lock)
    return owner


def free_chain(heap, chain):
    """Put each object of a chain back where it came from, with one lock for all that have the same owner."""
    while chain:
        owner = lock_owner(heap, superblock_of(heap, chain.address))
        chain = free_owned(heap, owner, chain)
        settle(heap, owner)
        release(heap.memory, owner.lock)


def free_owned(heap, owner, chain):
    """Put back the objects of a chain that lie in superblocks of a heap, which is locked; the others stay a chain."""
    others = chain.at(NULL)
    while chain:
        rest = chain.next
        if superblock_of(heap, chain.address).owner.load() == owner:
            put_back(heap, owner, chain)
        else:
            chain.next = others
            others = chain
        chain = rest
    return others


def put_back(heap, owner, freed):
    superblock = superblock_of(heap, freed.address)
    if superblock.used < superblock.object_size:
        heap.memory.fault("double free", freed.address)
    push(superblock, freed)
    if superblock.used == superblock.object_size:
        owner.used -= superblock.used
        reset_reap(superblock)
        relist(owner, superblock)
    else:
        count_used(owner, superblock, -superblock.object_size)
