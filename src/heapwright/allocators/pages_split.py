"""Pages divided into equal blocks: what is small shares a page with its like, the rest has pages of its own.

Source: P.-H. Kamp, Malloc(3) revisited, USENIX 1998 (the allocator of FreeBSD 2 to 6): a page holds blocks of one size
and a bitmap says which are free. His sizes are powers of two, which cost up to twice the request, and his runs are
single pages; here eight sizes share a doubling, and a run has 64 KiB.

      run -> +--------------------+  at a multiple of 64 KiB
             | Run: size, map ... |
             +--------------------+
             | padding            |  up to a multiple of the largest power of two that divides the block size
             +--------------------+
             | block 0            |  in use: the caller's bytes, all of them
             +--------------------+
             | block 1            |  free: not a byte of it is read or written
             +--------------------+
             | ...                |
             +--------------------+

The heap's own words: two heaps of pages, one for the runs and one for large blocks, so that the table of the first
tells whether an address is in a run; for each size the list of its runs that have a free block; and one spare run.

An aligned request is rounded up to its alignment: then its size is that of a class whose blocks are aligned so.

Invariants
    I1  `free` counts the bits of the map, which has none behind the last block
    I2  no free block lies below the word of the map where the search begins
    I3  the list of a class is linked both ways, and holds the runs of that class which have a free block
    I4  a run without a block in use is the spare one

Runs and large blocks are kept as `pages` keeps its blocks, with its invariants.

Vital statistics: header none, smallest block 16, alignment 16; alloc O(words of the map), dealloc O(1) expected; an
empty run goes back, but for a spare one. `trim` gives that back, too. In full runs, requests of 1 to 8 KiB and
multiples of 16 below cost at most 22 % more than they ask for, all included.
"""

from __future__ import annotations

from heapwright.allocators.chains import pushed, removed
from heapwright.allocators.pages import Heap as PageHeap
from heapwright.allocators.pages import alloc as alloc_pages
from heapwright.allocators.pages import check as check_pages
from heapwright.allocators.pages import dealloc as dealloc_pages
from heapwright.allocators.pages import entries, find, known, release, resize, span_at, whole_pages
from heapwright.allocators.pages import trim as trim_pages
from heapwright.allocators.pages_kept import kept_ranges
from heapwright.bits import align_down, align_up, below, bit, floor_log2, is_absurd, lowest_bit
from heapwright.layout import NULL, Array, Inline, Struct, Word, Word32
from heapwright.spans import FREE, OWN, UNUSED, USED

UNIT = 16
RUN = 64 << 10  # a multiple of every size of page
LOG2_STEPS = 3  # of the classes in a doubling
LOG2_FIRST = 7  # up to 2**7 bytes there is a class for each unit
MOST_SMALL = 8 << 10
CLASSES = 56
BITS = 32  # in a word of the map
WORDS = RUN // UNIT // BITS

DETECTS = ("double free", "foreign", "interior")
RETAINS = 0
TIDIES = True  # the first large request makes a table for the others
SLOW_PATHS = ("open_run", "retire", "move", "take_pages", "give_back", "resize", "resize_table")


class Run(Struct):
    block_size: Word
    first: Word  # the offset of block 0
    blocks: Word
    free: Word
    lowest: Word  # the word of the map where the search for a free block begins
    next: Run
    previous: Run
    map: Array[Word32, WORDS]  # a set bit: the block is free


class Heap(Struct):
    runs: Inline[PageHeap]
    large: Inline[PageHeap]
    with_room: Array[Run, CLASSES]
    spare: Run


# --- classes


def class_of(size):
    """The class of the smallest blocks that hold 1 to MOST_SMALL bytes."""
    last = size - 1
    if last < 1 << LOG2_FIRST:
        return last // UNIT
    k = floor_log2(last)
    return ((k - LOG2_FIRST) << LOG2_STEPS) + (last >> (k - LOG2_STEPS))


def size_of(size_class):
    """The size of a class's blocks."""
    steps = 1 << LOG2_STEPS
    if size_class < steps:
        return (size_class + 1) * UNIT
    doubling = (size_class >> LOG2_STEPS) - 1
    return (steps + 1 + (size_class & (steps - 1))) << (LOG2_FIRST - LOG2_STEPS + doubling)


def rounded(size, align):
    """A size whose class has blocks with the alignment; one of no bytes takes a block too."""
    return align_up(max(size, 1), align)


def is_small(size):
    return size <= MOST_SMALL


# --- blocks of a run


def run_of(heap, address):
    """The run that an address lies in; null if it lies in none."""
    start = align_down(address, RUN)
    return heap.spare.at(start if find(heap.runs, start) else NULL)


def address_of(run, index):
    return run.address + run.first + index * run.block_size


def index_of(run, address):
    """Which block begins at an address; -1 if none does."""
    offset = address - run.address - run.first
    index = offset // run.block_size
    return index if below(index, run.blocks) and index * run.block_size == offset else -1


def is_free(run, index):
    return run.map[index // BITS] & bit(index % BITS) != 0


def take_lowest(run):
    """The address of the first free block, which is in use now."""
    word = run.lowest
    while run.map[word] == 0:
        word += 1
    index = lowest_bit(run.map[word])
    run.map[word] &= ~bit(index)
    run.lowest = word
    run.free -= 1
    return address_of(run, word * BITS + index)


def put_back(run, index):
    run.map[index // BITS] |= bit(index % BITS)
    run.lowest = min(run.lowest, index // BITS)
    run.free += 1


def divide(run, block_size):
    """Make the run one of free blocks of a size."""
    run.block_size = block_size
    run.first = align_up(Run.SIZE, block_size & -block_size)
    run.blocks = (RUN - run.first) // block_size
    run.free = run.blocks
    run.lowest = 0
    for word in range(WORDS):
        bits = min(max(run.blocks - word * BITS, 0), BITS)
        run.map[word] = bit(bits) - 1


# --- runs


def link(heap, run):
    size_class = class_of(run.block_size)
    heap.with_room[size_class] = pushed(heap.with_room[size_class], run)


def unlink(heap, run):
    size_class = class_of(run.block_size)
    heap.with_room[size_class] = removed(heap.with_room[size_class], run)


def open_run(heap, size_class):
    """Make the spare run, which may be one of the class already, or a new one serve a class; null without memory."""
    run, block_size = heap.spare, size_of(size_class)
    if not run:
        run = run.at(alloc_pages(heap.runs, RUN, RUN))
    if run:
        if run != heap.spare or run.block_size != block_size:
            divide(run, block_size)
        heap.spare = NULL
        link(heap, run)
    return run


def retire(heap, run):
    """Keep an empty run as the spare one, or give it back if there is one."""
    unlink(heap, run)
    if heap.spare:
        dealloc_pages(heap.runs, run.address, RUN, RUN)
    else:
        heap.spare = run


# --- the allocator


def alloc(heap, size, align):
    """A block of a run with room, or pages; 0 when memory is exhausted."""
    if is_absurd(size, align):
        return NULL
    needed = rounded(size, align)
    if is_small(needed):
        return alloc_small(heap, class_of(needed))
    return alloc_pages(heap.large, size, align)


def alloc_small(heap, size_class):
    run = heap.with_room[size_class]
    if not run:
        run = open_run(heap, size_class)
        if not run:
            return NULL
    address = take_lowest(run)
    if run.free == 0:
        unlink(heap, run)
    return address


def alloc_zeroed(heap, size, align):
    """Pages come as zeros; blocks of a run may have been used."""
    address = alloc(heap, size, align)
    if address != NULL and is_small(rounded(size, align)):
        heap.memory.fill(address, size, 0)
    return address


def dealloc(heap, address, size, align):
    run = run_of(heap, address)
    if run:
        dealloc_small(heap, run, address)
    else:
        dealloc_pages(heap.large, address, size, align)


def dealloc_small(heap, run, address):
    index = index_of(run, address)
    if index == -1:
        heap.memory.fault("not a live block", address)
    if is_free(run, index):
        heap.memory.fault("double free", address)
    put_back(run, index)
    if run.free == 1:
        link(heap, run)
    if run.free == run.blocks:
        retire(heap, run)


def usable_size(heap, address):
    run = run_of(heap, address)
    return run.block_size if run else known(heap.large, address).size


def realloc(heap, address, size, align, new_size):
    """Stay if the fit is close; have the kernel move pages; else move, and a block that shrinks stays if it must."""
    if is_absurd(new_size, align):
        return NULL
    usable = usable_size(heap, address)
    if is_small(usable) and (usable - UNIT) >> 1 <= new_size <= usable:
        return address
    moved = NULL
    if not is_small(usable) and not is_small(rounded(new_size, align)):
        moved = resize(heap.large, known(heap.large, address), whole_pages(heap.large, new_size), align)
    return moved if moved != NULL else move(heap, address, min(usable, new_size), align, new_size)


def move(heap, address, size, align, new_size):
    target = alloc(heap, new_size, align)
    if target == NULL:
        return address if size == new_size else NULL
    heap.memory.copy(target, address, size)
    dealloc(heap, address, size, align)
    return target


def trim(heap):
    """Give back the spare run and what the kernel did not take before; return how many bytes went."""
    released = 0
    if heap.spare:
        released = release(heap.runs, known(heap.runs, heap.spare.address))
        heap.spare = NULL
    return released + trim_pages(heap.runs) + trim_pages(heap.large)


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each block, range and record of [start, end)."""
    while start < end:
        size, kind = span_at(heap.runs, start)
        if size > 0 and kind == USED:
            for span in walk_run(heap.spare.at(start)):  # noqa: UP028  `yield from` does not compile
                yield span
        else:
            if size == 0:
                size, kind = span_at(heap.large, start)
            if size == 0:
                return
            yield start, size, kind
        start += size


def walk_run(run):
    """The header, each block, and what is left over at the end."""
    yield run.address, run.first, OWN
    for index in range(run.blocks):
        yield address_of(run, index), run.block_size, FREE if is_free(run, index) else USED
    end = address_of(run, run.blocks)
    if end < run.address + RUN:
        yield end, run.address + RUN - end, UNUSED


def lists(heap):
    """Yield (name, addresses) for the runs of each class with room, the spare one, and what the pages keep."""
    for size_class in range(CLASSES):
        runs = [run.address for run in members(heap, size_class)]
        yield f"runs with room for {size_of(size_class)} bytes", runs
    yield "spare run", [heap.spare.address] if heap.spare else []
    for name, pages in (("runs", heap.runs.pages), ("large blocks", heap.large.pages)):
        yield f"kept pages of {name}", [start for start, _ in kept_ranges(pages)]


def check(heap, start, end):
    check_pages(heap.runs, start, end)
    check_pages(heap.large, start, end)
    runs = [heap.spare.at(entry.start) for entry in entries(heap.runs)]
    for run in runs:
        bits = sum(run.map[word] << word * BITS for word in range(WORDS))
        assert bits.bit_count() == run.free and bits >> run.blocks == 0, (
            "I1  `free` counts the bits of the map, which has none behind the last block"
        )
        assert not any(run.map[word] for word in range(run.lowest)), (
            "I2  no free block lies below the word of the map where the search begins"
        )
        is_spare = run == heap.spare
        assert (run.free == run.blocks) == is_spare, "I4  a run without a block in use is the spare one"
    listed = [run.address for size_class in range(CLASSES) for run in members(heap, size_class)]
    assert sorted(listed) == sorted(run.address for run in runs if run.free and run != heap.spare), (
        "I3  the list of a class is linked both ways, and holds the runs of that class which have a free block"
    )


def members(heap, size_class):
    """The runs in the list of a class."""
    found, run, previous = [], heap.with_room[size_class], heap.spare.at(NULL)
    while run:
        assert run.previous == previous and run.block_size == size_of(size_class), (
            "I3  the list of a class is linked both ways, and holds the runs of that class which have a free block"
        )
        found.append(run)
        run, previous = run.next, run
    return found
