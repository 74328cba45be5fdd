"""A sample of the blocks, each alone on a page between protected pages: overflow and use after free end in a report.

    protected |      slot 0      | protected |      slot 1      | protected | ...
              |          [block] |           | [block]          |
                        ^ at the right end: an overflow faults
                                               ^ at the left end: an underflow faults

One request in RATE is put into the pool of SLOTS slots if it fits into a page and a slot is free. All others pay for a
countdown. A free compares the address with the pool. A freed slot is protected, too, and waits behind all other freed
slots before it is used again: until then, each access to it faults.

    a block's end         RIGHT percent of the blocks lie at the right end, rounded down to their alignment
    a fault               `slot_near` says which block the address belongs to: see `heapwright.guards`
    a realloc             ends a block and makes another one, which may be in the sample

Invariants:

    G1  a slot that is in use has a block inside its page
    G2  the queue has each freed slot once, and no other one

Source: the design of GWP-ASan (LLVM), after the Electric Fence of B. Perens (1987).
"""

from __future__ import annotations

from heapwright.bits import align_down, unsigned_less, wrapping_add
from heapwright.chance import below, draw, mixed
from heapwright.guards import FREED, LIVE, Caller, Slot, nearer, used
from heapwright.layers import inner
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word
from heapwright.locks import FREE, acquire, release, release_own
from heapwright.spans import CACHED, OWN, UNUSED, USED
from heapwright.stats import UNREPORTED, add_mapped

RATE = 5000  # requests of a thread for one that is guarded, on average
SLOTS = 16
RIGHT = 50  # percent
TUNABLES = (
    ("RATE", "RATE", range(1, 1 << 30)),
    ("SLOTS", "SLOTS", range(1, 1025)),
    ("RIGHT", "RIGHT", range(101)),
)
SLOW_PATHS = ("is_due_now", "alloc_guarded", "dealloc_guarded", "move_out", "move_in")
THREAD_WORDS = 12
LEFT = 11  # the thread's word: requests up to and with the next one that is guarded; 0 in a new thread


class Heap(Struct):
    end: Atomic[Word]  # of the pool; 0 before the first request
    seeds: Atomic[Word]
    lock: Atomic[Word]  # of the fields below
    fresh: Word  # slots that were ever used
    oldest: Slot  # the queue of freed slots
    newest: Slot
    slots: Array[Inline[Slot], SLOTS]
    heap: Inline[inner.Heap]


# --- the countdown


def is_due(heap):
    """Count a request. Returns whether it is to be guarded."""
    left = heap.memory.local(LEFT)
    if left > 1:
        heap.memory.set_local(LEFT, left - 1)
        return False
    return is_due_now(heap)


def is_due_now(heap):
    """The same at the end of the countdown, or at a thread's first request."""
    left = heap.memory.local(LEFT)
    if left == 0:
        left = next_gap(heap)
    is_over = left == 1
    heap.memory.set_local(LEFT, next_gap(heap) if is_over else left - 1)
    return is_over


def next_gap(heap):
    """A random number of requests, from 1 to twice the rate less 1."""
    if heap.end.load() == NULL:
        open_once(heap)
    return 1 + below(draw(heap.seeds), 2 * RATE - 1)


# --- the pool


def open_once(heap):
    """Map the pool and protect all of it, unless another thread has done so."""
    memory, size = heap.memory, pool_bytes(heap)
    acquire(memory, heap.lock)
    if heap.end.load() == NULL:
        heap.seeds.store(memory.random())
        pool = memory.mmap(size)
        if pool != -1 and memory.protect(pool, size, 1) == 0:
            heap.end.store(pool + size)
        elif pool != -1:
            memory.munmap(pool, size)
    release(memory, heap.lock)


def pool_bytes(heap):
    """The size of the pool: the slots' pages, and one more protected page than slots."""
    return (2 * SLOTS + 1) * heap.memory.PAGE


def is_guarded(heap, address):
    """Whether an address lies in the pool. Before there is one, this compares with the largest number."""
    return unsigned_less(wrapping_add(heap.end.load(), ~address), pool_bytes(heap))


def page_number(heap, address):
    """The number of a page of the pool, from 0. The odd ones are the slots'."""
    return (address - heap.end.load() + pool_bytes(heap)) // heap.memory.PAGE


def page_of(heap, number):
    """The address of a page of the pool."""
    return heap.end.load() - pool_bytes(heap) + number * heap.memory.PAGE


def slot_of_page(heap, number):
    """The slot of a page of the pool with an odd number."""
    return heap.slots[number >> 1]


def slot_near(heap, address):
    """The slot that explains a fault at an address of the pool; null if there is none.

    In a protected page, it is the slot on the side whose block is nearer: a live block, if there is one.
    """
    if not is_guarded(heap, address):
        return heap.slots[0].at(NULL)
    number = page_number(heap, address)
    if number & 1:
        return used(slot_of_page(heap, number))
    left = used(slot_of_page(heap, max(number - 1, 1)))
    right = used(slot_of_page(heap, min(number + 1, 2 * SLOTS - 1)))
    return nearer(left, right, address)


# --- slots


def take_slot(heap):
    """Open a slot that was never used, or else the one that was freed first; null if that is not possible."""
    acquire(heap.memory, heap.lock)
    slot = heap.slots[heap.fresh] if heap.fresh < SLOTS else heap.oldest
    if slot and slot.page == NULL:
        slot.page = page_of(heap, 2 * heap.fresh + 1)
    if slot and heap.memory.protect(slot.page, heap.memory.PAGE, 0) != 0:
        slot = slot.at(NULL)
    elif heap.fresh < SLOTS:
        heap.fresh += 1
    elif slot:
        heap.oldest = slot.next
    release(heap.memory, heap.lock)
    return slot


def queue_slot(heap, slot):
    """Put a slot behind all that were freed before."""
    acquire(heap.memory, heap.lock)
    slot.next = slot.at(NULL)
    if heap.oldest:
        heap.newest.next = slot
    else:
        heap.oldest = slot
    heap.newest = slot
    release(heap.memory, heap.lock)


def place_in(heap, page, size, align):
    """Where a block goes on its page: at the right end or at the left."""
    room = align_down(heap.memory.PAGE - max(size, 1), align)
    return page + room if below(draw(heap.seeds), 100) < RIGHT else page


def live_slot(heap, address):
    """The slot of a live block; report any other address."""
    number = page_number(heap, address)
    slot = slot_of_page(heap, min(number, 2 * SLOTS - 1))
    if number & 1 == 0 or slot.state.load() == 0:
        heap.memory.fault("not a block of this heap", address)
    if address != slot.block:
        heap.memory.fault("no block begins here", address)
    if slot.state.load() == FREED:
        heap.memory.fault("double free", address, slot.size)
    return slot


# --- blocks


def alloc_guarded(heap, size, align):
    """Allocate in a slot; 0 if the request does not fit or no slot is free."""
    memory = heap.memory
    if heap.end.load() == NULL or unsigned_less(memory.PAGE, size) or align > memory.PAGE:
        return NULL
    slot = take_slot(heap)
    if not slot:
        return NULL
    slot.block = place_in(heap, slot.page, size, align)
    slot.size = size
    memory.note_caller(slot.allocated.address, 2 * Caller.SIZE)  # this clears `freed`, too: it was the last block's
    slot.state.store(LIVE)
    return slot.block


def dealloc_guarded(heap, address):
    """Free a block of the pool; report an address that is none. Two threads may try it at once."""
    slot = live_slot(heap, address)
    if not slot.state.compare_exchange(LIVE, FREED):
        heap.memory.fault("double free", address, slot.size)
    heap.memory.note_caller(slot.freed.address, Caller.SIZE)
    heap.memory.protect(slot.page, heap.memory.PAGE, 1)
    queue_slot(heap, slot)
    return 0


def move_out(heap, address, align, new_size):
    """Resize a block of the pool: it ends, and another one begins. 0 leaves the old block alone."""
    slot = live_slot(heap, address)
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(slot.size, new_size))
        dealloc_guarded(heap, address)
    return target


def move_in(heap, address, size, align):
    """Move a block that `inner.realloc` returned into a slot if possible. Returns where it is now."""
    target = alloc_guarded(heap, size, align)
    if target == NULL:
        return address
    heap.memory.copy(target, address, size)
    inner.dealloc(heap.heap, address, size, align)
    return target


# --- the inner allocator's calls


def alloc(heap, size, align):
    """Allocate in a slot if the request is in the sample, or else call `inner.alloc`."""
    if is_due(heap):
        address = alloc_guarded(heap, size, align)
        if address != NULL:
            return address
    return inner.alloc(heap.heap, size, align)


def alloc_zeroed(heap, size, align):
    """Allocate in a slot if the request is in the sample, or else call `inner.alloc_zeroed`."""
    if is_due(heap):
        address = alloc_guarded(heap, size, align)
        if address != NULL:
            heap.memory.fill(address, size, 0)
            return address
    return inner.alloc_zeroed(heap.heap, size, align)


def dealloc(heap, address, size, align):
    """Free a block of the pool, or call `inner.dealloc`."""
    if is_guarded(heap, address):
        dealloc_guarded(heap, address)
    else:
        inner.dealloc(heap.heap, address, size, align)


def realloc(heap, address, size, align, new_size):
    """Move a block of the pool; resize any other one by `inner.realloc`, and then it may move into the pool."""
    if is_guarded(heap, address):
        return move_out(heap, address, align, new_size)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    if moved != NULL and is_due(heap):
        return move_in(heap, moved, new_size, align)
    return moved


if hasattr(inner, "usable_size"):

    def usable_size(heap, address):
        """The requested size of a block of the pool, or `inner.usable_size`."""
        return live_slot(heap, address).size if is_guarded(heap, address) else inner.usable_size(heap.heap, address)


# --- the heap as a whole


def survey(heap, stats):
    """Call `inner.survey`, and count the pool as one mapping with the blocks in it."""
    inner.survey(heap.heap, stats)
    if heap.end.load() != NULL:
        live = live_blocks(heap)
        add_mapped(stats, live, pool_bytes(heap))
        stats.live_blocks += live if stats.live_blocks != UNREPORTED else 0


def live_blocks(heap):
    """The number of blocks in the pool."""
    count = 0
    for i in range(SLOTS):
        count += heap.slots[i].state.load() & LIVE
    return count


def fork_prepare(heap):
    """Take the lock before the process forks, so that the child gets a consistent pool."""
    acquire(heap.memory, heap.lock)
    return inner.fork_prepare(heap.heap)


def fork_parent(heap):
    """Release the lock in the parent after the fork."""
    inner.fork_parent(heap.heap)
    release(heap.memory, heap.lock)
    return 0


def fork_child(heap):
    """Reset the lock in the child, and give it random numbers of its own."""
    heap.lock.store(FREE)
    heap.seeds.store(mixed(heap.seeds.load()))
    heap.memory.set_local(LEFT, 0)
    return inner.fork_child(heap.heap)


def release_held(heap):
    """Release the lock before a report ends the program, so that a signal handler can still allocate."""
    inner.release_held(heap.heap)
    release_own(heap.memory, heap.lock)
    return 0


# --- walk and check


def pool_in(heap, start, end):
    """The part of an extent that is the pool's, as its start and end; they are equal if there is none."""
    past = heap.end.load()
    low = min(max(past - pool_bytes(heap), start), end)
    return low, max(min(past, end), low)


def walk(heap, start, end):
    """The spans of the inner allocator, and each page of the pool as one span."""
    low, high = pool_in(heap, start, end)
    if start < low:
        for span in inner.walk(heap.heap, start, low):
            yield span
    while low < high:
        yield low, heap.memory.PAGE, kind_of_page(heap, page_number(heap, low))
        low += heap.memory.PAGE
    if high < end:
        for span in inner.walk(heap.heap, high, end):
            yield span


def kind_of_page(heap, number):
    """The kind of a page of the pool, as in `heapwright.spans`."""
    if number & 1 == 0:
        return OWN
    state = slot_of_page(heap, number).state.load()
    return USED if state == LIVE else CACHED if state == FREED else UNUSED


def check(heap, start, end):
    """Check the pool, and call `inner.check` for the rest of the extent."""
    low, high = pool_in(heap, start, end)
    if start < low:
        inner.check(heap.heap, start, low)
    if high < end:
        inner.check(heap.heap, high, end)
    if low < high:
        check_slots(heap)
        check_queue(heap)


def check_slots(heap):
    """G1."""
    for i in range(SLOTS):
        slot = heap.slots[i]
        first, last = slot.page, slot.page + heap.memory.PAGE
        inside = first <= slot.block and slot.block + slot.size <= last
        assert slot.state.load() != LIVE or inside, "G1  a slot that is in use has a block inside its page"


def check_queue(heap):
    """G2."""
    queued, slot = set(), heap.oldest
    while slot and slot.address not in queued:
        queued.add(slot.address)
        slot = slot.next
    freed = {heap.slots[i].address for i in range(SLOTS) if heap.slots[i].state.load() == FREED}
    assert not slot and queued == freed, "G2  the queue has each freed slot once, and no other one"
