"""Pages divided into equal blocks: small blocks of one size share pages, each large block has its own.

Source: P.-H. Kamp, Malloc(3) revisited, USENIX 1998 (the allocator of FreeBSD 2 to 6): a page holds blocks of one size
and a bitmap says which are free. His sizes are powers of two, which cost up to twice the request, and his runs are
single pages; here there are eight sizes to a doubling, and a run has 64 KiB.

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

Fields of the allocator: two heaps of `pages`, one for runs and one for large blocks, so the first one's table says
whether an address is in a run; for each size class, the list of its runs with a free block; and one spare run.

`alloc` rounds the size up to the alignment, which leads to a class with that alignment. It takes the lowest free block
of the first run in the class's list; if the list is empty, it opens the spare run or a new one. `dealloc` sets the
block's bit in the map of its run. An empty run becomes the spare one, or is unmapped if there already is one.

Invariants
    I1  `free` counts the bits of the map, which has none behind the last block
    I2  no free block lies below the word of the map where the search begins
    I3  the list of a class is linked both ways, and holds the runs of that class which have a free block
    I4  a run without a block in use is the spare one

The heaps of runs and of large blocks keep the invariants of `pages`. In full runs, requests of 1 to 8 KiB, and smaller
multiples of 16, cost at most 22 % more than their size, everything included.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators import pages
from heapwright.allocators.parts import chains, kept_pages, whole_pages
from heapwright.layout import NULL, Array, Inline, Struct, Word, Word32

OVERHEAD = 0
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(words of a run's map)"
DEALLOC_COST = "O(1) expected"
GIVES_BACK = "each empty run but one; `trim`: that one and the free pages of runs"

UNIT = 16
RUN = 64 << 10  # a multiple of every page size
LOG2_STEPS = 3  # logarithm of the number of classes in a doubling
LOG2_FIRST = 7  # up to 2**7 bytes there is a class for each unit
MAX_SMALL = 8 << 10
CLASSES = 56
BITS = 32  # bits in a word of the map
WORDS = RUN // UNIT // BITS
DETECTS = ("double free", "foreign", "interior")
RETAINS = 0
RECLAIMS = True  # the first large request creates the table for all of them
SLOW_PATHS = ("open_run", "retire", "move", "take_pages", "give_back", "resize", "resize_table")


class Run(Struct):
    block_size: Word
    first: Word  # the offset of block 0
    blocks: Word
    free: Word
    lowest: Word  # index of the map's word where the search for a free block begins
    next: Run
    previous: Run
    map: Array[Word32, WORDS]  # a set bit: the block is free


class Heap(Struct):
    runs: Inline[pages.Heap]
    large: Inline[pages.Heap]
    with_room: Array[Run, CLASSES]
    spare: Run


def class_of(size):
    """The class of the smallest blocks that hold 1 to MAX_SMALL bytes."""
    last = size - 1
    if last < 1 << LOG2_FIRST:
        return last // UNIT
    k = bits.floor_log2(last)
    return ((k - LOG2_FIRST) << LOG2_STEPS) + (last >> (k - LOG2_STEPS))


def size_of(size_class):
    """The size of a class's blocks."""
    steps = 1 << LOG2_STEPS
    if size_class < steps:
        return (size_class + 1) * UNIT
    doubling = (size_class >> LOG2_STEPS) - 1
    return (steps + 1 + (size_class & (steps - 1))) << (LOG2_FIRST - LOG2_STEPS + doubling)


def rounded(size, align):
    """A size of at least 1 whose class has blocks with the alignment."""
    return bits.align_up(max(size, 1), align)


def is_small(size):
    return size <= MAX_SMALL


# --- blocks of a run


def run_of(heap, address):
    """The run that contains an address; null if there is none."""
    start = bits.align_down(address, RUN)
    return heap.spare.at(start if pages.find(heap.runs, start) else NULL)


def address_of(run, index):
    return run.address + run.first + index * run.block_size


def live_index(run, address):
    """The index of the live block that begins at an address; report any other address."""
    offset = address - run.address - run.first
    index = offset // run.block_size
    if not bits.unsigned_less(index, run.blocks) or index * run.block_size != offset:
        run.memory.fault("not a live block", address)
    if is_free(run, index):
        run.memory.fault("double free", address)
    return index


def is_free(run, index):
    return run.map[index // BITS] & bits.bit(index % BITS) != 0


def take_lowest(run):
    """Take the free block with the lowest address; return its address."""
    word = run.lowest
    while run.map[word] == 0:
        word += 1
    index = bits.lowest_bit(run.map[word])
    run.map[word] &= ~bits.bit(index)
    run.lowest = word
    run.free -= 1
    return address_of(run, word * BITS + index)


def put_back(run, index):
    run.map[index // BITS] |= bits.bit(index % BITS)
    run.lowest = min(run.lowest, index // BITS)
    run.free += 1


def divide(run, block_size):
    """Divide a run into free blocks of a size."""
    run.block_size = block_size
    run.first = bits.align_up(Run.SIZE, block_size & -block_size)
    run.blocks = (RUN - run.first) // block_size
    run.free = run.blocks
    run.lowest = 0
    for word in range(WORDS):
        marked = min(max(run.blocks - word * BITS, 0), BITS)
        run.map[word] = bits.bit(marked) - 1


# --- runs


def link(heap, run):
    size_class = class_of(run.block_size)
    heap.with_room[size_class] = chains.pushed(heap.with_room[size_class], run)


def unlink(heap, run):
    size_class = class_of(run.block_size)
    heap.with_room[size_class] = chains.removed(heap.with_room[size_class], run)


def open_run(heap, size_class):
    """Let the spare run or a new one serve a class; null when memory is exhausted."""
    run, block_size = heap.spare, size_of(size_class)
    if not run:
        run = run.at(pages.alloc(heap.runs, RUN, RUN))
    if run:
        if run != heap.spare or run.block_size != block_size:
            divide(run, block_size)
        heap.spare = NULL
        link(heap, run)
    return run


def retire(heap, run):
    """Make an empty run the spare one, or unmap it if there is a spare one."""
    unlink(heap, run)
    if heap.spare:
        pages.dealloc(heap.runs, run.address, RUN, RUN)
    else:
        heap.spare = run


# --- the allocator


def alloc(heap, size, align):
    """Return the address of a block in a run, or of pages; 0 when memory is exhausted."""
    if bits.is_absurd(size, align):
        return NULL
    needed = rounded(size, align)
    if is_small(needed):
        return alloc_small(heap, class_of(needed))
    return pages.alloc(heap.large, size, align)


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
    """Clear a block of a run, which may have been used before. Pages are already zero."""
    address = alloc(heap, size, align)
    if address != NULL and is_small(rounded(size, align)):
        heap.memory.fill(address, size, 0)
    return address


def dealloc(heap, address, size, align):
    run = run_of(heap, address)
    if run:
        dealloc_small(heap, run, address)
    else:
        pages.dealloc(heap.large, address, size, align)


def dealloc_small(heap, run, address):
    put_back(run, live_index(run, address))
    if run.free == 1:
        link(heap, run)
    if run.free == run.blocks:
        retire(heap, run)


def usable_size(heap, address):
    run = run_of(heap, address)
    if run and live_index(run, address) >= 0:
        return run.block_size
    return pages.known(heap.large, address).size


def realloc(heap, address, size, align, new_size):
    """Leave a block that fits closely, resize pages, or else move. A block that cannot move to shrink stays."""
    if bits.is_absurd(new_size, align):
        return NULL
    usable = usable_size(heap, address)
    if is_small(usable) and (usable - UNIT) >> 1 <= new_size <= usable:
        return address
    moved = NULL
    if not is_small(usable) and not is_small(rounded(new_size, align)):
        moved = pages.resize(
            heap.large, pages.known(heap.large, address), pages.whole_pages(heap.large, new_size), align
        )
    return moved if moved != NULL else move(heap, address, min(usable, new_size), align, new_size)


def move(heap, address, size, align, new_size):
    target = alloc(heap, new_size, align)
    if target == NULL:
        return address if size == new_size else NULL
    heap.memory.copy(target, address, size)
    dealloc(heap, address, size, align)
    return target


def trim(heap, pad):
    """Release the spare run, ranges that the kernel refused before, and free pages of runs; return the bytes."""
    released = 0
    if heap.spare:
        released = pages.release(heap.runs, pages.known(heap.runs, heap.spare.address))
        heap.spare = NULL
    for size_class in range(CLASSES):
        run = heap.with_room[size_class]
        while run:
            released += decommit_free(run)
            run = run.next
    return released + pages.trim(heap.runs, pad) + pages.trim(heap.large, pad)


def decommit_free(run):
    """Release the frames of the pages in which every block is free; return the number of bytes released."""
    given_back = index = 0
    while index < run.blocks:
        first = index
        while index < run.blocks and is_free(run, index):
            index += 1
        given_back += whole_pages.decommit_inside(run.memory, address_of(run, first), address_of(run, index))
        index += 1
    return given_back


# --- inspection


def survey(heap, account):
    stats.begin(heap.memory, account)
    runs, large = heap.runs, heap.large
    kept = runs.pages.kept_bytes + large.pages.kept_bytes
    account.spare_bytes = kept + (RUN if heap.spare else 0)
    others = runs.blocks * RUN + kept + pages.own_bytes(runs) + pages.own_bytes(large)
    stats.add_mapped(account, large.blocks, account.heap_bytes - others)
    kept_pages.survey_kept(runs.pages, account)
    kept_pages.survey_kept(large.pages, account)
    if heap.spare:
        stats.add_free(account, heap.spare.free, heap.spare.block_size)
    for size_class in range(CLASSES):
        run = heap.with_room[size_class]
        while run:
            stats.add_free(account, run.free, run.block_size)
            run = run.next


def walk(heap, start, end):
    """Yield (start, size, kind) for each block, range and record of [start, end)."""
    while start < end:
        size, kind = pages.span_at(heap.runs, start)
        if size > 0 and kind == spans.USED:
            for span in walk_run(heap.spare.at(start)):  # noqa: UP028  `yield from` does not compile
                yield span
        else:
            if size == 0:
                size, kind = pages.span_at(heap.large, start)
            if size == 0:
                return
            yield start, size, kind
        start += size


def walk_run(run):
    """Yield the header, each block, and the rest at the end."""
    yield run.address, run.first, spans.OWN
    for index in range(run.blocks):
        yield address_of(run, index), run.block_size, spans.FREE if is_free(run, index) else spans.USED
    end = address_of(run, run.blocks)
    if end < run.address + RUN:
        yield end, run.address + RUN - end, spans.UNUSED


def lists(heap):
    """Yield (name, addresses) for the runs of each class with room, the spare run, and the kept pages."""
    for size_class in range(CLASSES):
        runs = [run.address for run in members(heap, size_class)]
        yield f"runs with room for {size_of(size_class)} bytes", runs
    yield "spare run", [heap.spare.address] if heap.spare else []
    for name, kept in (("runs", heap.runs.pages), ("large blocks", heap.large.pages)):
        yield f"kept pages of {name}", [start for start, _ in kept_pages.kept_ranges(kept)]


def check(heap, start, end):
    pages.check(heap.runs, start, end)
    pages.check(heap.large, start, end)
    runs = [heap.spare.at(entry.start) for entry in pages.entries(heap.runs)]
    for run in runs:
        marked = sum(run.map[word] << word * BITS for word in range(WORDS))
        assert marked.bit_count() == run.free and marked >> run.blocks == 0, (
            "I1  `free` counts the bits of the map, which has none behind the last block"
        )
        assert not any(run.map[word] for word in range(run.lowest)), (
            "I2  no free block lies below the word of the map where the search begins"
        )
        is_spare = run == heap.spare
        assert (run.free == run.blocks) == is_spare, "I4  a run without a block in use is the spare one"
    listed = [run.address for size_class in range(CLASSES) for run in members(heap, size_class)]
    assert sorted(listed) == sorted(run.address for run in runs if run.free and run != heap.spare), I3


I3 = "I3  the list of a class is linked both ways, and holds the runs of that class which have a free block"


def members(heap, size_class):
    """The runs in the list of a class."""
    found, run, previous = [], heap.with_room[size_class], heap.spare.at(NULL)
    while run:
        assert run.previous == previous and run.block_size == size_of(size_class), I3
        found.append(run)
        run, previous = run.next, run
    return found
