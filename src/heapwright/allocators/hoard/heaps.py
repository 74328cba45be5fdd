"""Hoard's heaps: several threads share one, and a global heap passes superblocks between them.

Lock order: a processor's heap, the global heap, the store. A superblock can change hands while a thread waits for the
owner's lock, so the thread reads the owner again after it has the lock. The object being freed counts as in use, which
keeps its superblock from being unmapped meanwhile.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.hoard import superblocks
from heapwright.allocators.hoard.superblocks import Object, Superblock
from heapwright.allocators.parts import known_places, large_objects, mappings
from heapwright.layout import NULL, Array, Atomic, Struct, Word

K = 16  # superblocks that a heap may hold unused; it serves up to 39 classes
SLACK = K * superblocks.SUPERBLOCK
CHUNK = 16 * superblocks.SUPERBLOCK  # bytes mapped at a time
MIN_PAGE = 4096
KEPT = 1 << 20  # bytes of empty superblocks that the global heap may keep, plus a quarter of all superblocks


class Store(Struct):
    """The source of superblocks: the unused rest of the last chunk, and the bytes of all superblocks handed out."""

    lock: Atomic[Word]
    fresh: Word
    end: Word
    held: Atomic[Word]  # bytes of all superblocks
    free_in: Array[Word, superblocks.SUPERBLOCK // MIN_PAGE]  # scratch: free bytes in each page of the superblock that
    # free_pages examines


# --- the kernel


def new_superblock(heap):
    """Take the next superblock of the chunk, unformatted; null when memory is exhausted."""
    store = heap.store
    locks.acquire(heap.memory, store.lock)
    if store.fresh == store.end:
        map_chunk(heap, store)
    superblock = Superblock(heap.memory, NULL)
    if store.fresh != store.end:
        superblock = superblock.at(store.fresh)
        store.fresh += superblocks.SUPERBLOCK
        store.held.add(superblocks.SUPERBLOCK)
    locks.release(heap.memory, store.lock)
    return superblock


def map_chunk(heap, store):
    """Map a chunk, or else one superblock. If both fail, release the kept large objects and try again."""
    size = CHUNK
    start = mappings.map_aligned(heap.memory, size, superblocks.SUPERBLOCK, 0)
    if start == NULL:
        size = superblocks.SUPERBLOCK
        start = mappings.map_aligned(heap.memory, size, superblocks.SUPERBLOCK, 0)
    if start == NULL and large_objects.trim_large(heap) > 0:
        start = mappings.map_aligned(heap.memory, size, superblocks.SUPERBLOCK, 0)
    if start != NULL:
        store.fresh = start
        store.end = start + size


def unmap_empty(heap, kept):
    """Unmap empty superblocks of the global heap until at most `kept` bytes remain. The caller holds its lock."""
    common = heap.processors[0]
    while common.empty > kept and unmap(heap, common, common.lists[superblocks.EMPTY]):
        pass


def unmap(heap, common, superblock):
    """Unmap an empty superblock; False if the kernel refuses."""
    superblocks.leave(common, superblock)
    known_places.forget(heap.places, superblock.address, superblocks.SUPERBLOCK)
    if heap.memory.munmap(superblock.address, superblocks.SUPERBLOCK) == -1:
        superblocks.join(common, superblock)
        return False
    heap.store.held.add(-superblocks.SUPERBLOCK)
    return True


# --- between a heap and the global heap


def find_superblock(heap, owner, size_class):
    """A superblock of the class with room: the heap's fullest, or an empty one, or one from outside the heap."""
    found = superblocks.fullest(owner, size_class)
    if found:
        return found
    found = owner.lists[superblocks.EMPTY]
    if not found:
        found = take_superblock(heap, owner, size_class)
    if found and found.size_class != size_class:
        superblocks.format_superblock(found, size_class)
        superblocks.make_known(heap, found)
    return found


def take_superblock(heap, owner, size_class):
    """Take a superblock into the heap, from the global heap or else from the store; null if there is none."""
    found = take_global(heap, owner, size_class)
    if not found:
        found = new_superblock(heap)
        if found:
            superblocks.format_superblock(found, size_class)
            superblocks.join(owner, found)
    if found:
        found.home.store(owner)
        superblocks.make_known(heap, found)
        owner.taken += superblocks.SUPERBLOCK
    return found


def take_global(heap, owner, size_class):
    """Take a superblock from the global heap; null if there is none.

    Both heaps stay locked meanwhile: a thread that frees an object of the superblock must find it in one of them.
    """
    common = heap.processors[0]
    locks.acquire(heap.memory, common.lock)
    found = superblocks.fullest(common, size_class)
    if not found:
        found = common.lists[superblocks.EMPTY]
    if found:
        superblocks.leave(common, found)
        superblocks.join(owner, found)
    locks.release(heap.memory, common.lock)
    return found


def is_too_empty(owner, held):
    """Whether u < a - K*S and u < (1 - f) * a, with f = 1/4 and a = `held`."""
    return owner.used < held - SLACK and owner.used < held - (held >> 2)


def settle(heap, owner):
    """After a free, restore the emptiness invariant of a processor's heap or the bound of the global heap."""
    owner.taken = 0
    if owner == heap.processors[0]:
        unmap_empty(heap, KEPT + (heap.store.held.load() >> 2))
    else:
        while is_too_empty(owner, owner.held):
            give_superblock(heap, owner, superblocks.emptiest(owner))


def give_superblock(heap, owner, superblock):
    common = heap.processors[0]
    locks.acquire(heap.memory, common.lock)
    superblocks.leave(owner, superblock)
    superblocks.join(common, superblock)
    unmap_empty(heap, KEPT + (heap.store.held.load() >> 2))
    locks.release(heap.memory, common.lock)


# --- objects of a heap


def take_chain(heap, owner, size_class, maximum):
    """Take a chain of up to `maximum` objects; return it and their number.

    The heap fetches a superblock from outside for the first object only.
    """
    locks.acquire(heap.memory, owner.lock)
    chain = Object(heap.memory, NULL)
    count = 0
    superblock = find_superblock(heap, owner, size_class)
    while superblock and count < maximum:
        before = count
        while count < maximum and not superblocks.is_full(superblock):
            found = superblocks.pop(superblock)
            found.next = chain
            chain = found
            count += 1
        count_used(owner, superblock, (count - before) * superblock.object_size)
        superblock = superblocks.fullest(owner, size_class)
    locks.release(heap.memory, owner.lock)
    return chain, count


def count_used(owner, superblock, more):
    superblock.used += more
    owner.used += more
    superblocks.relist(owner, superblock)


def lock_owner(heap, superblock):
    """Lock the heap that owns a superblock; the superblock may change hands while the thread waits."""
    owner = superblock.owner.load()
    locks.acquire(heap.memory, owner.lock)
    while superblock.owner.load() != owner:
        locks.release(heap.memory, owner.lock)
        owner = superblock.owner.load()
        locks.acquire(heap.memory, owner.lock)
    return owner


def free_chain(heap, chain):
    """Return each object of a chain to its superblock, with one lock for all objects of the same owner."""
    while chain:
        owner = lock_owner(heap, superblocks.superblock_of(heap, chain.address))
        chain = free_owned(heap, owner, chain)
        settle(heap, owner)
        locks.release(heap.memory, owner.lock)


def free_one(heap, freed):
    """Return an object to its superblock. A double free is reported before the object's link is written."""
    owner = lock_owner(heap, superblocks.superblock_of(heap, freed.address))
    put_back(heap, owner, freed)
    settle(heap, owner)
    locks.release(heap.memory, owner.lock)


def free_owned(heap, owner, chain):
    """Put back the objects of a chain whose superblocks belong to a locked heap; return the others as a chain."""
    others = chain.at(NULL)
    while chain:
        rest = chain.next
        if superblocks.superblock_of(heap, chain.address).owner.load() == owner:
            put_back(heap, owner, chain)
        else:
            chain.next = others
            others = chain
        chain = rest
    return others


def put_back(heap, owner, freed):
    superblock = superblocks.superblock_of(heap, freed.address)
    if superblock.used < superblock.object_size or superblock.free == freed:
        heap.memory.fault("double free", freed.address)
    superblocks.push(superblock, freed)
    if superblock.used == superblock.object_size:
        owner.used -= superblock.used
        superblocks.reset_reap(superblock)
        superblocks.relist(owner, superblock)
    else:
        count_used(owner, superblock, -superblock.object_size)
