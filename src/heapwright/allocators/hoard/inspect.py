"""Inspection of Hoard's superblocks: their spans for `walk`, all lists, and the assertions of `check`.

Free lists have no order and the dialect has no sets, so `walk` marks the free objects of one window at a time.
"""

from __future__ import annotations

from heapwright import bits, locks, spans, stats
from heapwright.allocators.hoard import heaps, superblocks, threads
from heapwright.allocators.hoard.superblocks import Superblock
from heapwright.allocators.hoard.threads import RosterPage
from heapwright.allocators.parts import chains, known_places, large_objects, object_bitmap, size_classes


def walk_superblock(heap, superblock):
    """Yield the header, each object, and the part never handed out."""
    first, size = superblocks.first_of(superblock), superblock.object_size
    yield superblock.address, first - superblock.address, spans.OWN
    free = cached = seen = 0
    for place in range(first, superblock.bump, size):
        if seen == 0:
            free = window(superblock.free, place, size)
            cached = buffered_window(heap, superblock, place)
        is_free = free & bits.bit(seen) != 0 or superblocks.is_gone(superblock, place)
        kind = spans.FREE if is_free else spans.CACHED if cached & bits.bit(seen) else spans.USED
        yield place, size, kind
        seen = (seen + 1) % object_bitmap.WINDOW
    if superblock.bump < superblock.address + superblocks.SUPERBLOCK:
        yield superblock.bump, superblock.address + superblocks.SUPERBLOCK - superblock.bump, spans.UNUSED


def window(chain, start, size):
    """The objects among the WINDOW from `start` on that are in a chain, as bits."""
    found = 0
    while chain:
        found |= object_bitmap.bit_for(chain.address, start, size)
        chain = chain.next
    return found


def buffered_window(heap, superblock, start):
    found = 0
    thread = heap.roster.youngest
    while thread:
        found |= window(thread.buffers[superblock.size_class].first, start, superblock.object_size)
        found |= window(thread.remote.of[superblock.size_class].first, start, superblock.object_size)
        thread = thread.older
    return found


# --- statistics


def survey(heap, account):
    stats.begin(heap.memory, account)
    for i in range(1 + threads.PROCESSORS):
        locks.acquire(heap.memory, heap.processors[i].lock)
        survey_heap(heap.processors[i], account)
        locks.release(heap.memory, heap.processors[i].lock)
    locks.acquire(heap.memory, heap.store.lock)
    stats.add_rest(account, heap.store.end - heap.store.fresh)
    locks.release(heap.memory, heap.store.lock)
    large_objects.survey_large(heap, account)


def survey_heap(owner, account):
    """Count the free objects of a heap's superblocks, including those never handed out."""
    for i in range(superblocks.LISTS):
        superblock = owner.lists[i]
        while superblock:
            room = superblock.limit - superblocks.first_of(superblock) - superblock.used
            stats.add_free(account, room // superblock.object_size, superblock.object_size)
            superblock = superblock.next
    account.spare_bytes += owner.empty


# --- lists


def lists(heap):
    """Yield (name, addresses) for the superblocks of each heap by fullness, their free objects, and the buffers."""
    for number in range(1 + threads.PROCESSORS):
        for i, superblock in first_ones(heap.processors[number]):
            chain = list(chains.chain_of(superblock))
            yield f"heap {number}, {fullness(i)}", [each.address for each in chain]
            for each in chain:
                yield f"objects of superblock {each.address:#x}", free_in(each)
    for thread in threads_of(heap):
        for i in range(threads.BUFFERED):
            name = f"thread {thread.address:#x}, {{}} of {size_classes.size_of_class(i)} bytes"
            yield name.format("buffer"), addresses_in(thread.buffers[i])
            yield name.format("remote frees"), addresses_in(thread.remote.of[i])
    yield "large objects kept", [large.address for large in large_objects.ranges_kept(heap.large)]


def first_ones(owner):
    """The number and the first superblock of each list of a heap that is not empty."""
    return [(i, owner.lists[i]) for i in range(superblocks.LISTS) if owner.lists[i]]


def fullness(i):
    """What the superblocks of a list have in common, in words."""
    if i < superblocks.PARTLY_FULL:
        return "empty" if i == superblocks.EMPTY else "full"
    size_class, quarters = divmod(i - superblocks.PARTLY_FULL, 4)
    return f"{size_classes.size_of_class(size_class)} bytes, {quarters}/4 full"


# --- for `check` only


def superblocks_of(owner):
    """Each superblock in the lists of a heap, with the number of its list."""
    for i in range(superblocks.LISTS):
        for superblock in chains.chain_of(owner.lists[i]):
            yield i, superblock


def threads_of(heap):
    thread = heap.roster.youngest
    while thread:
        yield thread
        thread = thread.older


def free_in(superblock):
    """The free objects that were handed out before: those of the free list, then those of pages that are gone."""
    gone = [
        superblocks.gone_from(superblock, page)
        for page in range(superblock.gone.bit_length())
        if superblock.gone >> page & 1
    ]
    listed = [each.address for each in chains.chain_of(superblock.free)]
    return listed + [place for first, end in gone for place in range(first, end, superblock.object_size)]


def buffered_in(heap, superblock):
    """The objects of a superblock that lie in any thread's buffers."""
    i = superblock.size_class
    buffers = [buffer for thread in threads_of(heap) for buffer in (thread.buffers[i], thread.remote.of[i])]
    kept = [addresses_in(buffer) for buffer in buffers]
    return [address for chain in kept for address in chain if 0 < address - superblock.address < superblocks.SUPERBLOCK]


def addresses_in(buffer):
    return [each.address for each in chains.chain_of(buffer.first)]


H1 = "H1  each superblock lies at a multiple of S, in one list, linked both ways, of its owner: its home, or heap 0"
H4 = "H4  u sums what is in use in the heap's superblocks, and a over all heaps is what the store gave out"
H6 = "H6  a buffered object counts as in use, and no buffer exceeds its limit, those of remote frees included"


def buffers_hold(thread):
    """Whether objects plus room equal each buffer's current limit, and no current limit exceeds the final one."""
    limits = [(thread.buffers[i], threads.limit_of(i)) for i in range(threads.BUFFERED)]
    limits += [(thread.remote.of[i], threads.remote_limit_of(i)) for i in range(threads.BUFFERED)]
    return all(len(addresses_in(buffer)) + buffer.room == buffer.limit <= last for buffer, last in limits)


def check_superblock(heap, owner, i, superblock):
    free, buffered = free_in(superblock), buffered_in(heap, superblock)
    first, size = superblocks.first_of(superblock), superblock.object_size
    assert (
        superblock.address % superblocks.SUPERBLOCK == 0 and superblock.owner.load() == owner and i == superblock.list
    ), H1
    assert owner in (superblock.home.load(), heap.processors[0]), H1
    assert known_places.note_of(heap.places, first) in (
        superblocks.note_on(heap, superblock),
        max(known_places.note_of(heap.places, first), known_places.NOTES),
    ), "H8  what is noted of a superblock, if anything, is its home and its class"
    assert superblock.used + len(free) * size == superblock.bump - first and superblocks.list_of(superblock) == i, (
        "H2  objects in use, free and never handed out fill a superblock, and its list is the one for those in use"
    )
    assert all(superblocks.is_object(superblock, address) for address in free + buffered) and len(set(free)) == len(
        free
    ), "H5  each free object begins a multiple of the object size after the first"
    assert not set(free) & set(buffered) and len(buffered) * size <= superblock.used, H6


# --- walk and check


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end). The extent begins with a header."""
    place = start
    while place < end:
        if heap.store.fresh <= place < heap.store.end:
            yield place, heap.store.end - place, spans.UNUSED
            place = heap.store.end
            continue
        superblock = Superblock(heap.memory, place)
        if superblock.magic == superblocks.SUPERBLOCK_MAGIC:
            for span in walk_superblock(heap, superblock):  # noqa: UP028  `yield from` does not compile
                yield span
            place += superblocks.SUPERBLOCK
        elif superblock.magic == threads.ROSTER_MAGIC:
            size = RosterPage(heap.memory, place).size
            yield place, size, spans.OWN
            place += size
        else:
            size, kind = large_objects.span_at(heap, place, end)
            yield place, size, kind
            place += size


def check(heap, start, end):
    every_heap = [heap.processors[i] for i in range(1 + threads.PROCESSORS)]
    listed = [(owner, i, superblock) for owner in every_heap for i, superblock in superblocks_of(owner)]
    for owner, i, superblock in listed:
        if start <= superblock.address < end:
            check_superblock(heap, owner, i, superblock)
    linked = all(chains.is_linked_back(owner.lists[i]) for owner in every_heap for i in range(superblocks.LISTS))
    assert linked and len({superblock.address for _, _, superblock in listed}) == len(listed), H1
    assert not any(heaps.is_too_empty(owner, owner.held - owner.taken) for owner in every_heap[1:]), (
        "H3  without the superblocks taken since the last free, u >= a - K*S or u >= (1 - f) * a"
    )
    sums = [sum(superblock.used for owner, _, superblock in listed if owner == each) for each in every_heap]
    held = [superblocks.SUPERBLOCK * sum(owner == each for owner, _, _ in listed) for each in every_heap]
    assert [(owner.used, owner.held) for owner in every_heap] == list(zip(sums, held, strict=True)), H4
    assert sum(held) == heap.store.held.load(), H4
    assert all(buffers_hold(thread) for thread in threads_of(heap)), H6
    assert large_objects.is_bounded(heap.large), (
        "H7  kept large objects take at most 1 MiB and half of the most ever live, and with the live ones 9/8 of it"
    )
