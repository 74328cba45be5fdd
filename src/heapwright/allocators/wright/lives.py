"""Wright's threads when they end, when their process forks, and when all that they hold must go home.

    roster -> the lock of each home -> pages          the order in which locks are taken

A thread that ends puts everything home and leaves its home to a later one. A trim does the same for the calling thread
and for idle homes, and it drains the inboxes of the others. Only their own threads can reach their lists: they put them
home at their next refill.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.wright import hardened, holes, homes, meshing, records, remote, seals, slabs, tiles
from heapwright.layout import NULL


def post_all(heap, home):
    home.busy = 1
    remote.post_all(heap, home)
    home.busy = 0


def tidy(heap, home):
    """Send away and put home all that a home holds for its thread."""
    if hardened.IS_HARDENED:
        send_waiting(heap, home)
    post_all(heap, home)
    locks.acquire(heap.memory, home.lock)
    remote.drain(heap, home)
    if hardened.IS_HARDENED:
        put_waiting_home(heap, home)
    slabs.give_up_unused(heap, home)
    locks.release(heap.memory, home.lock)


def send_waiting(heap, home):
    """Put the blocks that wait in a home, and are another home's, into the outbox."""
    home.busy = 1
    for i in range(hardened.WAITING):
        slab = seals.slab_of_waiting(heap, home, i)
        if slab and records.home_address(slab) != home.address:
            remote.put(heap, home, slab, seals.end_wait(heap, home, i))
    home.busy = 0


def put_waiting_home(heap, home):
    """Put the home's own blocks that wait there onto the lists of their slabs. The home is locked."""
    for i in range(hardened.WAITING):
        slab = seals.slab_of_waiting(heap, home, i)
        if slab:
            slabs.put_home(heap, home, slab, seals.end_wait(heap, home, i))


def tidy_idle(heap):
    """Put home what idle homes hold. A thread that holds the roster already, or meets another, does without."""
    roster = heap.roster
    if locks.try_acquire(heap.memory, roster.lock):
        home = roster.idle
        while home:
            tidy(heap, home)
            home = home.next
        if roster.common:
            tidy(heap, roster.common)
        locks.release(heap.memory, roster.lock)


def squeeze_all(heap):
    """Squeeze all homes; return the bytes."""
    released, roster = 0, heap.roster
    if locks.try_acquire(heap.memory, roster.lock):
        home = roster.youngest
        while home:
            released += squeeze(heap, home)
            home = home.older
        locks.release(heap.memory, roster.lock)
    return released


def squeeze(heap, home):
    """Give back what the slabs of a home do not need, if nobody is changing them; return the bytes in holes.

    The home may be another thread's.
    """
    released = 0
    if locks.try_acquire(heap.memory, home.lock):
        remote.drain(heap, home)
        slabs.release_empty(heap, home)
        released = holes.give_back(heap, home)
        if records.MESHED != 0:
            released += meshing.mesh(heap, home, meshing.MANY)
        locks.release(heap.memory, home.lock)
    return released


def gather(heap):
    """Put everything home that nobody uses; return whether some segment became a kept range."""
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if home:
        tidy(heap, home)
    tidy_idle(heap)
    locks.acquire(heap.memory, heap.pages.lock)
    found = tiles.give_empty(heap)
    locks.release(heap.memory, heap.pages.lock)
    return found


def release_all(heap):
    """Release what this thread's lists, the slabs of all homes and the reserve do not need; return the bytes."""
    before = gone(heap)
    gather(heap)
    released = squeeze_all(heap)
    locks.acquire(heap.memory, heap.pages.lock)
    tiles.release(heap, 0)
    locks.release(heap.memory, heap.pages.lock)
    return released + gone(heap) - before


def gone(heap):
    locks.acquire(heap.memory, heap.pages.lock)
    size = heap.reserve.gone
    locks.release(heap.memory, heap.pages.lock)
    return size


# --- the end of a thread, fork, and the end after a report


def thread_exit(heap):
    """Put the lists home and leave the home to a later thread. Blocks that the thread frees later are sent home."""
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    heap.memory.set_local(homes.HAS_ENDED, 1)
    if home:
        tidy(heap, home)
        heap.memory.set_local(homes.MINE, NULL)
        heap.memory.set_local(homes.LIMIT, 0)
        locks.acquire(heap.memory, heap.roster.lock)
        homes.retire(heap, home)
        locks.release(heap.memory, heap.roster.lock)


def fork_prepare(heap):
    locks.acquire(heap.memory, heap.roster.lock)
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if home:
        locks.acquire(heap.memory, home.lock)  # another thread may be draining the inbox
        if records.MESHED != 0:
            remote.drain(heap, home)  # the child may not: see meshing
    locks.acquire(heap.memory, heap.pages.lock)
    if records.MESHED != 0:
        meshing.fork_prepare(heap)


def fork_parent(heap):
    if records.MESHED != 0:
        meshing.fork_parent(heap)
    locks.release(heap.memory, heap.pages.lock)
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if home:
        locks.release(heap.memory, home.lock)
    locks.release(heap.memory, heap.roster.lock)


def fork_child(heap):
    if records.MESHED != 0:
        meshing.fork_child(heap)
    heap.pages.lock.store(locks.FREE)
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if home:
        home.lock.store(locks.FREE)
    heap.roster.lock.store(locks.FREE)
    homes.forget_others(heap)


def release_held(heap):
    if records.MESHED != 0:
        locks.release_own(heap.memory, heap.meshes.lock)
    locks.release_own(heap.memory, heap.pages.lock)
    locks.release_own(heap.memory, heap.roster.lock)
