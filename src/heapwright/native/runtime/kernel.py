"""The kernel as compiled code sees it: written in the dialect, over the C library's wrappers.

`sbrk` moves the process's real break, so limits hold and the program may move it too. If the break cannot grow, memory
comes from mappings. If the process asked for its own region (`reserve`), all memory comes from that region, at
addresses that nothing else influences. Callers of `sbrk` hold the allocator's lock. `errno` is preserved.
"""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import NULL, Array, Atomic, Struct, Word, Word32
from heapwright.native import c
from heapwright.native.runtime.linux import (
    DONT_NEED,
    EFAULT,
    FIXED_NO_REPLACE,
    FUTEX,
    FUTEX_WAIT,
    FUTEX_WAKE,
    GETRANDOM,
    MAY_MOVE,
    NO_RESERVE,
    NO_WAIT,
    PAGE,
    PRIVATE_ANONYMOUS,
    READ_WRITE,
    STEADY,
)
from heapwright.native.runtime.mappings import Mappings, lowest, map_pages, remap_pages, unmap_pages
from heapwright.stats import raise_to

SLOW_PATHS = ("sbrk", "mmap", "munmap", "mremap", "decommit", "is_mapped", "wait", "wake")
MIN_WINDOW = 1 << 20
THREAD_WORDS = 8  # that each thread has: 0 to 3 are the allocator's, 4 to 7 the recorder's


class Runtime(Struct):
    """The library's record of the memory that it took from the kernel."""

    start: Word  # of the heap: the first address that sbrk gave
    piece: Word  # the first address since somebody else last moved the break
    top: Word  # where we left the break
    mappings: Mappings  # not null: memory comes from our own region, and mappings from its top down
    window: Word  # the rest of the last mapping, once the break cannot grow
    window_end: Word
    mapped: Atomic[Word]  # bytes held now, by sbrk and mmap
    peak: Atomic[Word]
    growths: Atomic[Word]
    shrinks: Atomic[Word]
    decommits: Atomic[Word]
    clock: Word  # nanoseconds, for a heap in our own region
    chance: Word  # the random number of such a heap
    capacity: Word  # if not zero, the most bytes to hold, for tests of exhaustion
    exit_key: Word32  # the pthread key whose destructor calls thread_exit
    has_exit_key: Word32
    reporter: Word  # the last thread that reported a misuse
    has_fault_handler: Word  # of SIGSEGV: see `signals`
    reported: Word  # the address of the last fault that it reported


def runtime():
    """The library's own words."""
    return Runtime(c.process_memory(), c.runtime_words())


def errno():
    """The calling thread's errno."""
    return c.load_int(c.errno_place())


def set_errno(value):
    """Set the calling thread's errno."""
    c.store_int(c.errno_place(), value)


# --- accounting


def account(bytes_more):
    """Count bytes taken from the kernel; a negative number counts bytes given back."""
    state = runtime()
    raise_to(state.peak, state.mapped.add(bytes_more) + bytes_more)
    if bytes_more > 0:
        state.growths.add(1)
    elif bytes_more < 0:
        state.shrinks.add(1)


def is_refused(bytes_more):
    """Whether this many more bytes would exceed the limit, if there is one."""
    state = runtime()
    return state.capacity != 0 and state.mapped.load() + bytes_more > state.capacity


def reserve(start, size):
    """Start anew on a region of `size` bytes at `start`, or anywhere if that is 0. Returns -1 if it cannot be mapped.

    The whole heap then lies in the region: the break grows up from its start, mappings down from its end.
    """
    state = runtime()
    table = c.mmap(0, Mappings.SIZE, READ_WRITE, PRIVATE_ANONYMOUS | NO_RESERVE, -1, 0)
    fixed = FIXED_NO_REPLACE if start != 0 else 0
    place = c.mmap(start, size, READ_WRITE, PRIVATE_ANONYMOUS | NO_RESERVE | fixed, -1, 0)
    if table == -1 or place == -1:
        return -1
    state.memory.fill(state.address, Runtime.SIZE, 0)
    state.start = place
    state.piece = place
    state.top = place
    state.mappings = table
    state.mappings.top = place + size
    return 0


def abandon():
    """Give the region back, so that another can be reserved in its place."""
    state = runtime()
    if state.mappings:
        c.munmap(state.start, state.mappings.top - state.start)
        c.munmap(state.mappings.address, Mappings.SIZE)
        state.mappings = NULL
    return 0


def limit(capacity):
    """Refuse the kernel's memory beyond `capacity` bytes; 0 lifts the limit."""
    runtime().capacity = capacity
    return 0


def set_clock(nanoseconds):
    """Set the clock of a heap in our own region."""
    runtime().clock = nanoseconds
    return 0


def set_chance(number):
    """Set the random number of a heap in our own region."""
    runtime().chance = number
    return 0


def held():
    """The bytes that the heap holds from the kernel."""
    return runtime().mapped.load()


def peak_held():
    """The peak of the bytes held."""
    return runtime().peak.load()


def growths():
    """The number of calls in which the kernel gave memory."""
    return runtime().growths.load()


def shrinks():
    """The number of calls in which it got memory back."""
    return runtime().shrinks.load()


def decommits():
    """The number of calls in which it got back the frames of pages that stay mapped."""
    return runtime().decommits.load()


def extent_start():
    """The start of the memory that sbrk gave; 0 before the first call."""
    return runtime().start


def piece_start():
    """The start of its last part, which contains nobody else's memory."""
    return runtime().piece


def extent_end():
    """The end of the memory that sbrk gave."""
    return runtime().top


# --- the break


def sbrk(n):
    """Move the break by `n` bytes. Returns the old break, or -1 if it cannot move. `sbrk(0)` asks where it is."""
    if n == 0:
        return where()
    if is_refused(n):
        return -1
    saved = errno()
    start = from_region(n) if runtime().mappings else from_break(n)
    set_errno(saved)
    if start != -1:
        account(n)
    return start


def where():
    """The break: the region's, or once there is a window, the window's, otherwise the process's."""
    state = runtime()
    if state.mappings:
        return state.top
    return state.window if state.window != 0 else c.sbrk(0)


def from_region(n):
    """Move the region's break by `n` bytes. Returns the old one, or -1 beyond the region or at a mapping."""
    state = runtime()
    old = state.top
    if n > lowest(state.mappings) - old or old + n < state.start:
        return -1
    state.top = old + n
    if n < 0:
        forget(old + n, old)
    return old


def forget(start, end):
    """Release the whole pages of freed memory to the kernel."""
    first = align_up(start, PAGE)
    if first < end:
        c.madvise(first, align_up(end, PAGE) - first, DONT_NEED)


def from_break(n):
    """Move the process's break. Once it is stuck, serve from mappings for good."""
    state = runtime()
    if state.window != 0:
        return from_window(n)
    start = c.sbrk(n)
    if start == -1:
        return from_window(n)
    if state.start == 0:
        state.start = start
    if start != state.top and n > 0:
        state.piece = start
    state.top = start + n
    return start


def from_window(n):
    """Serve from a mapping because the break is stuck. The memory is not contiguous with the earlier memory."""
    state = runtime()
    if n < 0:
        return -1
    if n > state.window_end - state.window:
        size = align_up(max(n, MIN_WINDOW), PAGE)
        start = c.mmap(0, size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
        if start == -1:
            return -1
        state.window = start
        state.window_end = start + size
    old = state.window
    state.window = old + n
    return old


# --- mappings


def floor():
    """The lower limit of the region's mappings: the page above the break."""
    return align_up(runtime().top, PAGE)


def mmap(size):
    """Map zeroed pages for `size` bytes. Returns their address, or -1."""
    if is_refused(size):
        return -1
    saved = errno()
    state = runtime()
    if state.mappings:
        address = map_pages(state.mappings, size, floor())
    else:
        address = c.mmap(0, size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    set_errno(saved)
    if address != -1:
        account(size)
    return address


def munmap(address, size):
    """Unmap the pages of a range. Returns 0, or -1 if it stays mapped."""
    saved = errno()
    state = runtime()
    result = unmap_pages(state.mappings, address, size) if state.mappings else c.munmap(address, size)
    set_errno(saved)
    if result == 0:
        account(-size)
    return result


def mremap(address, old_size, new_size, may_move):
    """Resize a mapping, which may move if `may_move`. Returns its address, or -1 if it is unchanged."""
    if is_refused(new_size - old_size):
        return -1
    saved = errno()
    state = runtime()
    if state.mappings:
        moved = remap_pages(state.mappings, address, old_size, new_size, may_move, floor())
    else:
        moved = c.mremap(address, old_size, new_size, MAY_MOVE if may_move else 0)
    set_errno(saved)
    if moved != -1:
        account(new_size - old_size)
    return moved


def decommit(address, size):
    """Release the frames of whole pages, which stay mapped and then read as zero. Returns 0, or -1."""
    saved = errno()
    result = c.madvise(address, size, DONT_NEED)
    set_errno(saved)
    if result == 0:
        runtime().decommits.add(1)
    return result


def is_mapped(address):
    """Whether an address can be read. Addresses in our part of the break can; for any other, ask the kernel.

    A futex call that wakes nobody and moves nobody still reads the word, and fails if it cannot.
    """
    state = runtime()
    if state.start <= address < state.top:
        return True
    saved = errno()
    unreadable = c.probe(address) == -1 and errno() == EFAULT
    set_errno(saved)
    return not unreadable


# --- time and random numbers


def clock():
    """Nanoseconds since the machine started. In our own region it is what somebody set, so that no address depends on
    how fast the machine is."""
    state = runtime()
    return state.clock if state.mappings else c.nanoseconds(STEADY)


class Chance(Struct):
    word: Word


def random():
    """An unpredictable number, or a heap address if there is none so early; in our own region, what somebody set."""
    if runtime().mappings:
        return runtime().chance
    saved = errno()
    place = c.on_stack(Chance)
    place.word = c.heap_words()
    c.syscall(GETRANDOM, place.address, Chance.SIZE, NO_WAIT, 0, 0)
    set_errno(saved)
    return place.word


# --- threads


class Words(Struct):
    slots: Array[Word, 16]  # more than any library has


def local(slot):
    """One of the words of the calling thread."""
    return Words(c.process_memory(), c.thread_words()).slots[slot]


def set_local(slot, value):
    """Store a word of the calling thread. The first store registers a call at the thread's exit."""
    slots = Words(c.process_memory(), c.thread_words()).slots
    is_first = slots[slot] == 0
    slots[slot] = value
    if is_first and runtime().has_exit_key:
        c.pthread_setspecific(runtime().exit_key, 1)


def thread_id():
    """The address of the thread's own words, which is unique among living threads."""
    return c.thread_words()


def wait(address, value):
    """Sleep while the 32-bit word at an address has this value. It may return spuriously."""
    saved = errno()
    c.syscall(FUTEX, address, FUTEX_WAIT, value, 0, 0)
    set_errno(saved)


def wake(address):
    """Wake one thread that sleeps at an address."""
    saved = errno()
    c.syscall(FUTEX, address, FUTEX_WAKE, 1, 0, 0)
    set_errno(saved)
