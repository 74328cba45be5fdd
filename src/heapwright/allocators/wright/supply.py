"""Wright's lists between a home and its slabs: how an empty one is refilled, and a full one goes home.

slabs -> refill -> list of a class -> alloc
  ^                    ^       |
  |                 dealloc    | the older half, when there is no room;
  +----------------------------+ all lists, when the home drains
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.wright import homes, lives, meshing, records, remote, slabs
from heapwright.layout import NULL

FEW_TILES, LOG2_CHANGED = 8, 3  # a home may lose so many tiles and an eighth before its lists go home


def alloc_small(heap, home, size_class):
    """Take a block from a home's list, after refilling it if it is empty; NULL when memory is exhausted."""
    hot = home.hot[size_class]
    if not hot.first:
        lives.post_all(heap, home)
        locks.acquire(heap.memory, home.lock)
        refill(heap, home, size_class)
        locks.release(heap.memory, home.lock)
    return homes.hand_out(hot) if hot.first else NULL


def alloc_common(heap, size_class):
    """Allocate for a thread without a home, or for one of a crowd."""
    locks.acquire(heap.memory, heap.roster.lock)
    home = homes.common_home(heap)
    address = alloc_small(heap, home, size_class) if home else NULL
    locks.release(heap.memory, heap.roster.lock)
    return address


def refill(heap, home, size_class):
    """Fetch all free blocks of the current slab, or a page of new ones. The home is locked."""
    remote.drain(heap, home)
    empty_lists(heap, home)
    home.returned = 0
    slab = slabs.ready_slab(heap, home, size_class)
    if slab:
        home.hot[size_class].first = slabs.detach(slab)
        homes.open_room(home, size_class)


def empty_lists(heap, home):
    """Put the lists home if few blocks in them may keep many slabs from becoming empty."""
    taken, trims = heap.pages.taken.load(), heap.roster.trims.load()
    home.seen = min(home.seen, taken)
    if is_draining(home) or home.heeded != trims:
        home.heeded = trims
        slabs.give_up_unused(heap, home)
        if records.MESHED != 0:
            meshing.mesh_after_drain(heap, home)
    elif taken > home.seen + (home.seen >> LOG2_CHANGED) + records.TILES:
        slabs.flush(heap, home)


def is_draining(home):
    """Whether an eighth of the home became free, as slabs or, since the last refill, as blocks."""
    shrunk, few = home.most - home.tiles, FEW_TILES << records.LOG2_TILE
    if shrunk > (home.most >> LOG2_CHANGED) + FEW_TILES:
        return True
    return home.returned > (home.tiles << (records.LOG2_TILE - LOG2_CHANGED)) + few


def dealloc_home(heap, address, tag):
    """Free a block of the thread's own whose list has no room: half of the list goes home first."""
    home, hot = homes.Home(heap.memory, bits.align_down(tag, records.HOME_BOUNDARY)), homes.Hot(heap.memory, tag)
    block = records.Block(heap.memory, address)
    locks.acquire(heap.memory, home.lock)
    slabs.put_cold_home(heap, home, (tag - home.address) >> records.LOG2_STEP)
    if hot.room > 0:
        homes.put_in(hot, block)
    else:
        slabs.put_home(heap, home, records.head_of(records.record_of(heap, address)), block)
    empty_lists(heap, home)
    locks.release(heap.memory, home.lock)
