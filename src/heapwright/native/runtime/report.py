"""The statistics of a compiled heap: mallinfo2, malloc_stats, malloc_info, and a record at exit.

Written in the dialect over `inner`, like the C face, but native only, because it prints. The figures are those of
`heapwright.stats`.

Source: glibc malloc/malloc.c (int_mallinfo, __malloc_info) and manual/memory.texi.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import NULL, Inline, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.lines import write_number
from heapwright.native.runtime.linux import OPEN_TO_APPEND, OWNERS_ALONE
from heapwright.native.runtime.mallinfo import Mallinfo, Mallinfo2, Words
from heapwright.native.runtime.process_facts import resident_peak
from heapwright.stats import UNREPORTED, Part, Stats

Heap = inner.Heap
EINVAL = 22
MAX_INT = (1 << 31) - 1


class Record(Struct):
    """The record that a process leaves at exit, in the file that `heapwright run --stats` reads."""

    pid: Word
    resident_peak: Word  # bytes
    stats: Inline[Stats]


def mallinfo2(heap, place):
    """Fill in a Mallinfo2 at `place`, in bytes, and return `place`, through which C returns the struct.

    As in glibc, `arena` is the sum of `uordblks` and `fordblks`, and blocks with their own mappings count only in
    `hblks` and `hblkhd`. `smblks` and `fsmblks` count what fast bins keep, also in `fordblks`. `usmblks` is always 0.
    """
    stats = c.on_stack(Stats)
    inner.survey(heap, stats)
    info = Mallinfo2(heap.memory, place)
    heap.memory.fill(place, Mallinfo2.SIZE, 0)
    info.arena = stats.arena_bytes
    info.ordblks = stats.free_blocks - stats.fast_blocks
    info.smblks = stats.fast_blocks
    info.hblks = stats.mapped_blocks
    info.hblkhd = stats.mapped_bytes
    info.fsmblks = stats.fast_bytes
    info.uordblks = stats.arena_bytes - stats.free_bytes
    info.fordblks = stats.free_bytes
    info.keepcost = stats.spare_bytes
    return place


def mallinfo(heap, place):
    """The same in ints. A number that is too large becomes the largest int."""
    wide = c.on_stack(Mallinfo2)
    mallinfo2(heap, wide.address)
    numbers = Mallinfo(heap.memory, place).numbers
    words = Words(heap.memory, wide.address).words
    for i in range(len(numbers)):
        numbers[i] = min(words[i], MAX_INT)
    return place


def malloc_stats(heap):
    """Print a few figures to standard error, without a buffer. This allocates nothing."""
    stats = c.on_stack(Stats)
    inner.survey(heap, stats)
    write_number(c.text("heap bytes      = "), stats.heap_bytes)
    write_number(c.text("live bytes      = "), stats.live_bytes)
    if stats.live_blocks != UNREPORTED:
        write_number(c.text("live blocks     = "), stats.live_blocks)
    write_number(c.text("free bytes      = "), stats.free_bytes)
    write_number(c.text("largest free    = "), stats.largest_free)
    write_number(c.text("peak heap bytes = "), stats.peak_heap_bytes)


# --- malloc_info


def malloc_info(heap, options, file):
    """Print the heap as XML, as glibc does: each arena, or the heap as one, then the sums. EINVAL unless options is 0.

    Nothing is locked while the C library prints, because it may allocate.
    """
    if options << 32 != 0:
        return EINVAL
    part, whole, stats = c.on_stack(Part), c.on_stack(Part), c.on_stack(Stats)
    heap.memory.fill(whole.address, Part.SIZE, 0)
    c.say(file, '<malloc version="1">\n', 0)
    number, found = 0, next_part(heap, NULL, part)
    while found != NULL:
        print_part(file, number, part)
        add_part(whole, part)
        number, found = number + 1, next_part(heap, found, part)
    inner.survey(heap, stats)
    print_sums(file, whole, stats)
    return 0


def whole_heap(heap, before, part):
    """`survey_part` for an allocator without parts. The whole heap is the first part."""
    if before != NULL:
        return NULL
    stats = c.on_stack(Stats)
    inner.survey(heap, stats)
    heap.memory.fill(part.address, Part.SIZE, 0)
    part.free_bytes = stats.free_bytes
    part.free_blocks = stats.free_blocks
    part.held_bytes = stats.arena_bytes
    part.peak_bytes = stats.peak_heap_bytes
    return heap.address


def add_part(whole, part):
    """Add the bytes and blocks of a part to the sums."""
    whole.free_bytes += part.free_bytes
    whole.free_blocks += part.free_blocks
    whole.fast_bytes += part.fast_bytes
    whole.fast_blocks += part.fast_blocks
    whole.held_bytes += part.held_bytes
    whole.peak_bytes += part.peak_bytes


def print_part(file, number, part):
    """Print one arena: its lists, with the fast bins first and the unsorted one last, and its sums."""
    c.say(file, '<heap nr="%ld">\n<sizes>\n', number)
    for index in range(len(part.fast)):
        print_size(file, part.fast[index])
    for index in range(1, len(part.lists)):
        print_size(file, part.lists[index])
    if part.lists[0].blocks > 0:
        c.say(file, '  <unsorted from="%ld"', part.lists[0].minimum)
        print_list(file, part.lists[0])
    c.say(file, "</sizes>\n", 0)
    print_total(file, part)
    print_space(file, part)
    if part.segments > 0:
        c.say(file, '<aspace type="subheaps" size="%ld"/>\n', part.segments)
    c.say(file, "</heap>\n", 0)


def print_size(file, entry):
    """Print a list of one size or of neighbouring sizes, unless it is empty."""
    if entry.blocks > 0:
        c.say(file, '  <size from="%ld"', entry.minimum)
        print_list(file, entry)


def print_list(file, entry):
    """Print the rest of a list's line, after its smallest size."""
    c.say(file, ' to="%ld"', entry.maximum)
    c.say(file, ' total="%ld"', entry.total)
    c.say(file, ' count="%ld"/>\n', entry.blocks)


def print_total(file, part):
    """Print the free memory: what fast bins keep, if there is any, and the rest."""
    if part.fast_blocks > 0:
        c.say(file, '<total type="fast" count="%ld"', part.fast_blocks)
        c.say(file, ' size="%ld"/>\n', part.fast_bytes)
    c.say(file, '<total type="rest" count="%ld"', part.free_blocks)
    c.say(file, ' size="%ld"/>\n', part.free_bytes)


def print_space(file, part):
    """Print the memory from the kernel. All of it is writable: unlike glibc, nothing is reserved with mprotect."""
    c.say(file, '<system type="current" size="%ld"/>\n', part.held_bytes)
    c.say(file, '<system type="max" size="%ld"/>\n', part.peak_bytes)
    c.say(file, '<aspace type="total" size="%ld"/>\n', part.held_bytes)
    c.say(file, '<aspace type="mprotect" size="%ld"/>\n', part.held_bytes)


def print_sums(file, whole, stats):
    """Print the end: the sums of all arenas, and the blocks that have a mapping each."""
    print_total(file, whole)
    c.say(file, '<total type="mmap" count="%ld"', stats.mapped_blocks)
    c.say(file, ' size="%ld"/>\n', stats.mapped_bytes)
    print_space(file, whole)
    c.say(file, "</malloc>\n", 0)


next_part = inner.survey_part if hasattr(inner, "survey_part") else whole_heap


# --- for heapwright itself


def stats(heap, place):
    """Fill in the Stats at `place`."""
    inner.survey(heap, Stats(heap.memory, place))
    return 0


def leave_record(heap):
    """At exit, append a record to the file that the environment names, if any."""
    path = c.getenv(c.text("HEAPWRIGHT_STATS"))
    if path != 0:
        record = c.on_stack(Record)
        record.pid = c.getpid()
        record.resident_peak = resident_peak()
        inner.survey(heap, record.stats)
        append(path, record.address, Record.SIZE)
    return 0


def append(path, address, size):
    """Append bytes to a file in one write, so that the records of processes do not mix."""
    file = c.c_open(path, OPEN_TO_APPEND, OWNERS_ALONE)
    c.c_write(file, address, size)
    c.c_close(file)
