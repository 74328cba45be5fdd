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
                 The table lies in the heap's own words, so that a free finds its word without a load
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
from heapwright.layout import NULL, WORD, Array, Atomic, Inline, Struct, Word
from heapwright.locks import FREE, acquire, release
from heapwright.options import SAMPLE_BYTES
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

# A fast path calls nothing but these, and last, so it needs no stack frame.
SLOW_PATHS = ("is_due_now", "alloc_noted", "alloc_array_noted", "dealloc_near", "realloc_near", "note_birth")
PLAIN_ALIGN = 16  # malloc's alignment: no larger one was requested
THREAD_WORDS = 11  # that each thread has in a library with this layer
LEFT, STATE, IS_KNOWN = 8, 9, 10  # the thread's words: bytes before the next point, random numbers, whether it recorded
FOREVER = 1 << 62  # bytes

PLACES = 1 << 17  # of the table
PROBES = 1024  # places where a block may lie, from its home on: blocks aligned to 4 MiB have one home
LOG2_GRAIN = 5  # neighbouring blocks are so far apart
COUNT = 48  # a word's bits above the address
ADDRESS = (1 << COUNT) - 1

FRACTION = 32  # bits of a random number that are used


class Heap(Struct):
    is_open: Atomic[Word]  # whether the setting has been read
    rate: Word  # bytes between two points, on average; UNSET: there are none
    seeds: Atomic[Word]  # for the next thread's random numbers
    lock: Atomic[Word]
    heap: Inline[inner.Heap]
    table: Array[Word, PLACES]  # each a Place


class Place(Struct):
    word: Atomic[Word]


# --- points


def passes(heap, size):
    """Count a request down if it is not in the sample. Returns whether that is so.

    A size below 0 is absurd; such a request will fail.
    """
    left = heap.memory.local(LEFT)
    if not unsigned_less(size, left):
        return False
    heap.memory.set_local(LEFT, left - size - 1)
    return True


def is_due_now(heap, size):
    """Whether a request that does not pass is in the sample: it is not if it only was the thread's first one."""
    memory = heap.memory
    if memory.local(STATE) == 0:
        begin_thread(heap)
    left = memory.local(LEFT)
    is_before = unsigned_less(size, left)
    memory.set_local(LEFT, left - size - 1 if is_before else next_gap(memory, heap.rate))
    return not is_before


def begin_thread(heap):
    """Give a thread random numbers of its own, and its first gap."""
    if heap.is_open.load() == 0:
        open_once(heap)
    heap.memory.set_local(STATE, draw(heap.seeds) | 1)
    heap.memory.set_local(LEFT, next_gap(heap.memory, heap.rate))


def open_once(heap):
    """Read the setting, unless another thread has done so."""
    memory = heap.memory
    acquire(memory, heap.lock)
    if heap.is_open.load() == 0:
        heap.rate = memory.setting(SAMPLE_BYTES)
        heap.seeds.store(memory.random())
        heap.is_open.store(1)
    release(memory, heap.lock)


def begin_sample(heap, rate):
    """Begin another sample in a process that runs already. Blocks of an earlier sample are forgotten. Returns 0.

    Another thread may be looking for such a block, or forgetting it.
    """
    for number in range(PLACES):
        place = place_at(heap, number)
        if place.word.load() != 0:
            place.word.store(0)
    heap.seeds.store(heap.memory.random())
    heap.rate = rate
    heap.is_open.store(1)
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
    return heap.table[home_of(address)] != 0  # who frees a block has seen what was written before it was handed out


def is_kept(heap, address):
    """Whether a block is in the sample; null is not."""
    word = place_at(heap, home_of(address)).word.load()
    is_here = word & ADDRESS == address or (word >> COUNT != 0 and find(heap, address) != NULL)
    return address != NULL and is_here


def home_of(address):
    """The number of the place where a search for an address begins."""
    return address >> LOG2_GRAIN & PLACES - 1


def place_at(heap, number):
    """A place of the table; behind the last one comes the first."""
    return Place(heap.memory, heap.table.address + (number & PLACES - 1) * WORD)


def find(heap, address):
    """The address of the place where a block lies that is not at home; NULL if there is none."""
    home = home_of(address)
    for step in range(1, PROBES):
        place = place_at(heap, home + step)
        if place.word.load() & ADDRESS == address:
            return place.address
    return NULL


def keep(heap, address):
    """Put a block into the table. Returns whether there is room."""
    home = home_of(address)
    for step in range(PROBES):
        place = place_at(heap, home + step)
        if occupy(place, address):
            if step:
                place_at(heap, home).word.add(1 << COUNT)
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
    home = place_at(heap, home_of(address))
    if leave(home, address):
        return
    place = find(heap, address)
    if place != NULL and leave(Place(heap.memory, place), address):
        count_down(home)


def leave(place, address):
    """Take a block out of a place. Returns whether it was there."""
    word = place.word.load()
    while word & ADDRESS == address:
        if place.word.compare_exchange(word, word - address):
            return True
        word = place.word.load()
    return False


def count_down(home):
    """Count a block less that belongs here, unless another sample has begun, which counts anew."""
    word = home.word.load()
    while word >> COUNT != 0 and not home.word.compare_exchange(word, word - (1 << COUNT)):
        word = home.word.load()


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
    return inner.alloc(heap.heap, size, align) if passes(heap, size) else alloc_noted(heap, size, align)


def alloc_noted(heap, size, align):
    """The same for a request that does not pass."""
    is_chosen = is_due_now(heap, size)
    address = inner.alloc(heap.heap, size, align)
    if is_chosen and address != NULL:
        note_birth(heap, ALLOC, align, address, NULL, size)
    return address


def alloc_zeroed(heap, size, align):
    """Call `inner.alloc_array` for one element, and record it if it is in the sample."""
    return alloc_array(heap, 1, size, align)


def alloc_array(heap, count, size, align):
    """Call `inner.alloc_array` with `size` bytes for `count` elements, and record it if it is in the sample."""
    if passes(heap, size):
        return inner.alloc_array(heap.heap, count, size, align)
    return alloc_array_noted(heap, count, size, align)


def alloc_array_noted(heap, count, size, align):
    """The same for a request that does not pass."""
    is_chosen = is_due_now(heap, size)
    address = inner.alloc_array(heap.heap, count, size, align)
    if is_chosen and address != NULL:
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
    has_passed = passes(heap, new_size)
    if has_passed and not is_near(heap, address):
        return inner.realloc(heap.heap, address, size, align, new_size)
    return realloc_near(heap, address, size, align, new_size, has_passed)


def realloc_near(heap, address, size, align, new_size, has_passed):
    """The same for a request that does not pass, or a block that may be in the sample."""
    is_chosen = not has_passed and is_due_now(heap, new_size)
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


if hasattr(inner, "SETS_ERRNO"):
    SETS_ERRNO = inner.SETS_ERRNO
if hasattr(inner, "TAKES_NULL"):
    TAKES_NULL = inner.TAKES_NULL
if hasattr(inner, "usable_size"):

    def usable_size(heap, address):
        """Call `inner.usable_size`."""
        return inner.usable_size(heap.heap, address)
