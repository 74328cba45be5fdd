"""A record of some calls, in the form of `traced`: of each request with a probability that grows with its size.

Each thread lays points over the bytes that it asks for, `SAMPLE_BYTES` apart on average, as a Poisson process does. A
request is recorded if a point falls on it. A request counts as one byte more than it asks for, so that empty ones are
chosen, too. So a block of `size` bytes is in the sample with the probability 1 - exp(-(size + 1) / SAMPLE_BYTES),
whatever else the program does, and `heapwright.traces.sampling` can estimate totals without bias. Frees and reallocs
are recorded for the blocks of the sample only.

A realloc ends a block and asks for another one. If both are in the sample, its records are those of `traced`. If only
the old block was, REALLOC_AWAY follows the realloc; if only the new one is, its REALLOC_TO has no old block. Requests
that fail are not recorded, except a realloc of a block of the sample.

    a request    the thread's word LEFT: bytes before the next point. It is counted down before the call: points on
                 requests that fail are lost, and no other ones
    a free       a table of the sample's addresses: a word for each place, usually 0

    word         number of blocks that belong here and lie in a later place << 48 | address of the block here
    home         the place where a search for an address begins; neighbours in memory are neighbours in the table

A block that is handed out is in the table before its thread returns from `malloc`, and nobody else looks for it until
then. So words change by single atomic operations, and no lock is needed.

Source: J. von Neumann, Various Techniques Used in Connection with Random Digits (1951), for exponential numbers without
logarithms.
"""

from __future__ import annotations

from heapwright.bits import floor_log2, shift_right, unsigned_less, wrapping_add
from heapwright.chance import GAMMA, draw, mixed
from heapwright.layers import inner
from heapwright.layout import NULL, WORD, Atomic, Inline, Struct, Word
from heapwright.locks import FREE, acquire, release
from heapwright.options import SAMPLE_BYTES, UNSET
from heapwright.traces.raw import (
    ALLOC,
    ALLOC_ZEROED,
    CROWDED,
    DEALLOC,
    FORK,
    REALLOC_AWAY,
    REALLOC_FROM,
    REALLOC_TO,
    THREAD_EXIT,
)

SLOW_PATHS = ("is_due_now", "alloc_due", "alloc_array_due", "dealloc_near", "realloc_near", "note_birth")
PLAIN_ALIGN = 16  # malloc's alignment: no larger one was requested
THREAD_WORDS = 11  # that each thread has in a library with this layer
LEFT, STATE, IS_KNOWN = 8, 9, 10  # the thread's words: bytes before the next point, random numbers, whether it recorded
FOREVER = 1 << 62  # bytes

PLACES = 1 << 17  # of the table
PROBES = 128  # places where a block may lie, from its home on
LOG2_GRAIN, LOG2_FAR = 5, 17  # neighbouring blocks are so far apart; those so far apart get other homes
COUNT = 48  # a word's bits above the address
ADDRESS = (1 << COUNT) - 1

FRACTION = 32  # bits of a random number that are used


class Heap(Struct):
    table: Atomic[Word]  # the address of the first place; NULL before the first request
    rate: Word  # bytes between two points, on average; UNSET: there are none
    seeds: Atomic[Word]  # for the next thread's random numbers
    lock: Atomic[Word]
    heap: Inline[inner.Heap]


class Place(Struct):
    word: Atomic[Word]


# --- points


def is_due(heap, size):
    """Whether a request is in the sample. A size below 0 is absurd; such a request will fail."""
    left = heap.memory.local(LEFT)
    if unsigned_less(size, left):
        heap.memory.set_local(LEFT, left - size - 1)
        return False
    return is_due_now(heap, size)


def is_due_now(heap, size):
    """The same if there is a point on the request, or if it is the thread's first one."""
    memory = heap.memory
    if memory.local(STATE) == 0:
        begin_thread(heap)
    left = memory.local(LEFT)
    is_before = unsigned_less(size, left)
    memory.set_local(LEFT, left - size - 1 if is_before else next_gap(memory, heap.rate))
    return not is_before


def begin_thread(heap):
    """Give a thread random numbers of its own, and its first gap."""
    if heap.table.load() == NULL:
        open_once(heap)
    heap.memory.set_local(STATE, draw(heap.seeds) | 1)
    heap.memory.set_local(LEFT, next_gap(heap.memory, heap.rate))


def open_once(heap):
    """Read the setting and map the table, unless another thread has done so."""
    memory = heap.memory
    acquire(memory, heap.lock)
    if heap.table.load() == NULL:
        heap.rate = memory.setting(SAMPLE_BYTES)
        heap.seeds.store(memory.random())
        place = memory.mmap(PLACES * WORD) if heap.rate > 0 else -1
        if place == -1:
            heap.rate = UNSET
        else:
            heap.table.store(place)
    release(memory, heap.lock)


def begin_sample(heap, rate):
    """Begin another sample in a process that runs already: 0, or -1 if there is no memory for its table.

    Blocks of an earlier sample are forgotten, and their table stays, because a thread may still be looking at it.
    """
    memory = heap.memory
    place = memory.mmap(PLACES * WORD)
    if place == -1:
        return -1
    heap.seeds.store(memory.random())
    heap.rate = rate
    heap.table.store(place)
    return 0


def next_gap(memory, rate):
    """The bytes before the next point: an exponential number, rounded down.

    The first of some uniform numbers is its fraction if they fall for an odd number of steps; else it is larger by 1.
    """
    if rate <= 0:
        return FOREVER
    whole = 0
    while True:
        first = uniform(memory)
        last, falls = first, 1
        following = uniform(memory)
        while following < last:
            last = following
            falls += 1
            following = uniform(memory)
        if falls & 1:
            return whole * rate + (first * rate >> FRACTION)
        whole += 1


def uniform(memory):
    """The thread's next random number, below 2^32."""
    state = wrapping_add(memory.local(STATE), GAMMA)
    memory.set_local(STATE, state)
    return shift_right(mixed(state), 64 - FRACTION)


# --- the table


def is_near(heap, address):
    """Whether a block may be in the sample: something is in the table at its home, or should be."""
    table = heap.table.load()
    return table != NULL and place_at(heap, table, home_of(address)).word.load() != 0


def is_kept(heap, address):
    """Whether a block is in the sample."""
    table = heap.table.load()
    if table == NULL:
        return False
    word = place_at(heap, table, home_of(address)).word.load()
    return word & ADDRESS == address or (word >> COUNT != 0 and find(heap, table, address) != NULL)


def home_of(address):
    """The number of the place where a search for an address begins."""
    return (address >> LOG2_GRAIN ^ address >> LOG2_FAR) & PLACES - 1


def place_at(heap, table, number):
    """A place of the table; behind the last one comes the first."""
    return Place(heap.memory, table + (number & PLACES - 1) * WORD)


def find(heap, table, address):
    """The address of the place where a block lies that is not at home; NULL if there is none."""
    home = home_of(address)
    for step in range(1, PROBES):
        place = place_at(heap, table, home + step)
        if place.word.load() & ADDRESS == address:
            return place.address
    return NULL


def keep(heap, address):
    """Put a block into the table. Returns whether there is room."""
    table, home = heap.table.load(), home_of(address)
    for step in range(PROBES):
        place = place_at(heap, table, home + step)
        if occupy(place, address):
            if step:
                place_at(heap, table, home).word.add(1 << COUNT)
            return True
    return False


def occupy(place, address):
    """Put a block into a place unless there is another one. Returns whether that worked."""
    word = place.word.load()
    while word & ADDRESS == 0:
        if place.word.compare_exchange(word, word | address):
            return True
        word = place.word.load()
    return False


def forget(heap, address):
    """Take a block, which is there, out of the table. It is gone if another sample has just begun."""
    table = heap.table.load()
    home = place_at(heap, table, home_of(address))
    if home.word.load() & ADDRESS == address:
        home.word.add(-address)
        return
    place = find(heap, table, address)
    if place != NULL:
        home.word.add(-1 << COUNT)
        Place(heap.memory, place).word.add(-address)


# --- records


def log2_asked(align):
    """The alignment as recorded: its logarithm, or 0 for one that malloc guarantees anyway."""
    return 0 if align <= PLAIN_ALIGN else floor_log2(align)


def note_birth(heap, operation, align, address, count, size):
    """Record a request of the sample. If the table has no room, record only that."""
    heap.memory.set_local(IS_KNOWN, 1)
    if keep(heap, address):
        heap.memory.record(operation, log2_asked(align), address, count, size)
    else:
        heap.memory.record(CROWDED, 0, NULL, NULL, size)
    return 0


def note_death(heap, address, operation, new_size):
    """Record that a block of the sample is about to end."""
    heap.memory.set_local(IS_KNOWN, 1)
    forget(heap, address)
    heap.memory.record(operation, 0, address, NULL, new_size)


def note_move(heap, address, moved, new_size, is_chosen):
    """Record what became of a block of the sample when its realloc returned."""
    if moved == NULL:
        keep(heap, address)
    elif not is_chosen or not keep(heap, moved):
        heap.memory.record(REALLOC_AWAY, 0, moved, address, new_size)
        return
    heap.memory.record(REALLOC_TO, 0, moved, address, new_size)


# --- the inner allocator's calls


def alloc(heap, size, align):
    """Call `inner.alloc`, and record it if it is in the sample."""
    return alloc_due(heap, size, align) if is_due(heap, size) else inner.alloc(heap.heap, size, align)


def alloc_due(heap, size, align):
    """Call `inner.alloc`, then record it."""
    address = inner.alloc(heap.heap, size, align)
    if address != NULL:
        note_birth(heap, ALLOC, align, address, NULL, size)
    return address


def alloc_zeroed(heap, size, align):
    """Call `inner.alloc_array` for one element, and record it if it is in the sample."""
    return alloc_array(heap, 1, size, align)


def alloc_array(heap, count, size, align):
    """Call `inner.alloc_array` with `size` bytes for `count` elements, and record it if it is in the sample."""
    if is_due(heap, size):
        return alloc_array_due(heap, count, size, align)
    return inner.alloc_array(heap.heap, count, size, align)


def alloc_array_due(heap, count, size, align):
    """Call `inner.alloc_array`, then record it."""
    address = inner.alloc_array(heap.heap, count, size, align)
    if address != NULL:
        note_birth(heap, ALLOC_ZEROED, align, address, count, size)
    return address


def dealloc(heap, address, size, align):
    """Record the call if the block is in the sample, then call `inner.dealloc`."""
    if is_near(heap, address):
        dealloc_near(heap, address, size, align)
    else:
        inner.dealloc(heap.heap, address, size, align)


def dealloc_near(heap, address, size, align):
    """The same, with a search in the table."""
    if is_kept(heap, address):
        note_death(heap, address, DEALLOC, 0)
    inner.dealloc(heap.heap, address, size, align)
    return 0


def realloc(heap, address, size, align, new_size):
    """Call `inner.realloc`; record the end of the old block before it and the new block after it."""
    is_chosen = is_due(heap, new_size)
    if is_chosen or is_near(heap, address):
        return realloc_near(heap, address, size, align, new_size, is_chosen)
    return inner.realloc(heap.heap, address, size, align, new_size)


def realloc_near(heap, address, size, align, new_size, is_chosen):
    """The same, with a search in the table."""
    was_kept = is_kept(heap, address)
    if was_kept:
        note_death(heap, address, REALLOC_FROM, new_size)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    if was_kept:
        note_move(heap, address, moved, new_size, is_chosen)
    elif is_chosen and moved != NULL:
        note_birth(heap, REALLOC_TO, PLAIN_ALIGN, moved, NULL, new_size)
    return moved


def thread_exit(heap):
    """Record the end of a thread that recorded anything, then call `inner.thread_exit`."""
    if heap.memory.local(IS_KNOWN) != 0:
        heap.memory.record(THREAD_EXIT, 0, NULL, NULL, 0)
    return inner.thread_exit(heap.heap)


def fork_prepare(heap):
    """Call `inner.fork_prepare`, then record the fork: the child inherits the sample. It gets other random numbers."""
    inner.fork_prepare(heap.heap)
    heap.seeds.add(GAMMA)
    heap.memory.record(FORK, 0, NULL, NULL, 0)


def fork_child(heap):
    """Start new records and random numbers in the child, then call `inner.fork_child`."""
    heap.memory.record_anew()
    heap.lock.store(FREE)
    heap.seeds.store(mixed(heap.seeds.load()))
    for word in (LEFT, STATE, IS_KNOWN):
        heap.memory.set_local(word, 0)
    return inner.fork_child(heap.heap)


if hasattr(inner, "usable_size"):

    def usable_size(heap, address):
        """Call `inner.usable_size`."""
        return inner.usable_size(heap.heap, address)
