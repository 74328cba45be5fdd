"""The kernel as compiled code sees it: written in the dialect, over the C library's own wrappers.

`sbrk` is the process's real break, so that limits hold and the program may move it too. When the break cannot
grow, memory comes from mappings; when the process asked for a region of its own (`reserve`), all memory comes from
that region, at addresses that nobody else decides. Whoever calls `sbrk` holds the allocator's lock. `errno` is kept
as it was.
"""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import NULL, Array, Atomic, Struct, Word, Word32
from heapwright.native import c
from heapwright.native.runtime.areas import Areas, lowest, map_pages, remap_pages, unmap_pages
from heapwright.native.runtime.linux import (
    DONT_NEED,
    FIXED_NO_REPLACE,
    FUTEX,
    FUTEX_WAIT,
    FUTEX_WAKE,
    MAY_MOVE,
    NO_RESERVE,
    PAGE,
    PRIVATE_ANONYMOUS,
    READ_WRITE,
)
from heapwright.stats import raise_to

SLOW_PATHS = ("sbrk", "mmap", "munmap", "mremap", "decommit", "wait", "wake")
LEAST_WINDOW = 1 << 20


class Runtime(Struct):
    """The library's own record of what it took from the kernel."""

    start: Word  # of the heap: the first address that sbrk gave
    piece: Word  # the same, since somebody else moved the break
    top: Word  # where the break was left by us
    areas: Areas  # not null: memory comes from a region of our own, mappings from its top down
    window: Word  # once the break cannot grow: the rest of the last mapping
    window_end: Word
    mapped: Atomic[Word]  # bytes held now, by sbrk and mmap
    peak: Atomic[Word]
    growths: Atomic[Word]
    shrinks: Atomic[Word]
    decommits: Atomic[Word]
    capacity: Word  # nonzero: the most bytes to hold, for tests of exhaustion
    exit_key: Word32  # the pthread key whose destructor calls thread_exit
    has_exit_key: Word32


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
    """Count bytes taken from the kernel or given back."""
    state = runtime()
    raise_to(state.peak, state.mapped.add(bytes_more) + bytes_more)
    if bytes_more > 0:
        state.growths.add(1)
    elif bytes_more < 0:
        state.shrinks.add(1)


def is_refused(bytes_more):
    """Whether so many bytes more would exceed the limit, if there is one."""
    state = runtime()
    return state.capacity != 0 and state.mapped.load() + bytes_more > state.capacity


def reserve(start, size):
    """Begin anew on a region of `size` bytes at `start`, or anywhere if that is 0; -1 if it cannot be mapped.

    The whole heap then lies in the region: the break grows up from its start, mappings down from its end.
    """
    state = runtime()
    table = c.mmap(0, Areas.SIZE, READ_WRITE, PRIVATE_ANONYMOUS | NO_RESERVE, -1, 0)
    fixed = FIXED_NO_REPLACE if start != 0 else 0
    place = c.mmap(start, size, READ_WRITE, PRIVATE_ANONYMOUS | NO_RESERVE | fixed, -1, 0)
    if table == -1 or place == -1:
        return -1
    state.memory.fill(state.address, Runtime.SIZE, 0)
    state.start = place
    state.piece = place
    state.top = place
    state.areas = table
    state.areas.top = place + size
    return 0


def abandon():
    """Give the region back, so that another can be reserved in its place."""
    state = runtime()
    if state.areas:
        c.munmap(state.start, state.areas.top - state.start)
        c.munmap(state.areas.address, Areas.SIZE)
        state.areas = NULL
    return 0


def limit(capacity):
    """Refuse the kernel's memory beyond `capacity` bytes; 0 lifts the limit."""
    runtime().capacity = capacity
    return 0


def held():
    """Bytes that the kernel gave and has not got back."""
    return runtime().mapped.load()


def most_held():
    """The most that was ever held, in bytes."""
    return runtime().peak.load()


def growths():
    """How often the kernel gave memory."""
    return runtime().growths.load()


def shrinks():
    """How often it got memory back."""
    return runtime().shrinks.load()


def decommits():
    """How often it got back the frames of pages that stay mapped."""
    return runtime().decommits.load()


def stretch_start():
    """Where the memory that sbrk gave begins; 0 before the first call."""
    return runtime().start


def piece_start():
    """Where the last piece of it begins, in which there is nobody else's."""
    return runtime().piece


def stretch_end():
    """Where it ends."""
    return runtime().top


# --- the break


def sbrk(n):
    """Move the break by `n` bytes; the start of the new memory, or -1 if there is none. `sbrk(0)` asks where it is."""
    if n == 0:
        return where()
    if is_refused(n):
        return -1
    saved = errno()
    start = from_region(n) if runtime().areas else from_break(n)
    set_errno(saved)
    if start != -1:
        account(n)
    return start


def where():
    """The break: the region's, the window's once there is one, or the process's."""
    state = runtime()
    if state.areas:
        return state.top
    return state.window if state.window != 0 else c.sbrk(0)


def from_region(n):
    """Move the region's break by `n` bytes; the old one, or -1 if it would leave the region or meet a mapping."""
    state = runtime()
    old = state.top
    if n > lowest(state.areas) - old or old + n < state.start:
        return -1
    state.top = old + n
    if n < 0:
        forget(old + n, old)
    return old


def forget(start, end):
    """Let the kernel take back the whole pages of released memory."""
    first = align_up(start, PAGE)
    if first < end:
        c.madvise(first, align_up(end, PAGE) - first, DONT_NEED)


def from_break(n):
    """Move the process's break; when it is stuck, and ever after, serve from a mapping."""
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
    """Serve from a mapping when the break is stuck: not contiguous with what came before."""
    state = runtime()
    if n < 0:
        return -1
    if n > state.window_end - state.window:
        size = align_up(max(n, LEAST_WINDOW), PAGE)
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
    """Where the region's mappings must end: the page above the break."""
    return align_up(runtime().top, PAGE)


def mmap(size):
    """Map zeroed pages for `size` bytes; their address, or -1."""
    if is_refused(size):
        return -1
    saved = errno()
    state = runtime()
    if state.areas:
        address = map_pages(state.areas, size, floor())
    else:
        address = c.mmap(0, size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    set_errno(saved)
    if address != -1:
        account(size)
    return address


def munmap(address, size):
    """Unmap the pages of a range; 0, or -1 if it stays."""
    saved = errno()
    state = runtime()
    result = unmap_pages(state.areas, address, size) if state.areas else c.munmap(address, size)
    set_errno(saved)
    if result == 0:
        account(-size)
    return result


def mremap(address, old_size, new_size, may_move):
    """Resize a mapping, elsewhere if it may move; its address, or -1 if it is as it was."""
    if is_refused(new_size - old_size):
        return -1
    saved = errno()
    state = runtime()
    if state.areas:
        moved = remap_pages(state.areas, address, old_size, new_size, may_move, floor())
    else:
        moved = c.mremap(address, old_size, new_size, MAY_MOVE if may_move else 0)
    set_errno(saved)
    if moved != -1:
        account(new_size - old_size)
    return moved


def decommit(address, size):
    """Let the kernel take back whole pages that stay mapped and then read as zero; 0, or -1."""
    saved = errno()
    result = c.madvise(address, size, DONT_NEED)
    set_errno(saved)
    if result == 0:
        runtime().decommits.add(1)
    return result


# --- threads


class Words(Struct):
    slots: Array[Word, 8]


def local(slot):
    """One of the calling thread's eight words."""
    return Words(c.process_memory(), c.thread_words()).slots[slot]


def set_local(slot, value):
    """Store a thread's word; the first one asks for a call at the thread's end."""
    slots = Words(c.process_memory(), c.thread_words()).slots
    is_first = slots[slot] == 0
    slots[slot] = value
    if is_first and runtime().has_exit_key:
        c.pthread_setspecific(runtime().exit_key, 1)


def thread_id():
    """The address of the thread's own words: no two living threads share it."""
    return c.thread_words()


def wait(address, value):
    """Sleep while the 32-bit word at an address has a value; may end without a reason."""
    saved = errno()
    c.syscall(FUTEX, address, FUTEX_WAIT, value, 0, 0)
    set_errno(saved)


def wake(address):
    """Wake one thread that sleeps at an address."""
    saved = errno()
    c.syscall(FUTEX, address, FUTEX_WAKE, 1, 0, 0)
    set_errno(saved)
