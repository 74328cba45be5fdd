"""Simple segregated storage: each size has its own memory, and a block never changes its size.

Source: P. Wilson, M. Johnstone, M. Neely, D. Boles, Dynamic Storage Allocation: A Survey and Critical Review, IWMM
1995, section 3.6, the first of the two designs that share a name. In the other, segregated fits (see tlsf), lists of
sizes are but an index of free blocks that are split and merged. Here nothing is: a request pops the list of its class
and a free pushes. The price is that memory, once it has served a class, serves no other.

Classes are those of size_classes. Blocks lie in runs of 256 KiB, each of one class, at multiples of 256 KiB, so that an
address finds its run by masking:

         run -> +-----------------+            block -> +--------------------+
              0 | magic           |           in use    | the caller's bytes |
              8 | class           |                     +--------------------+
             16 | size            |            block -> +--------------------+
             24 | live bits:      |           free    0 | next               |
                | one for each 16 |                   8 | unused             |
                | bytes           |                     +--------------------+
       first -> +-----------------+  aligned as far as the size is
                | block, block .. |
                +-----------------+

The heap's own words: for each class, its free blocks, last in first out, and what was never handed out of its newest
run; memory from sbrk that is not a run yet; and the mappings that the kernel did not take back (pages_kept). Requests
above 64 KiB have a mapping each (huge_blocks).

Invariants
    S1  a run lies at a multiple of 256 KiB and has one class for good
    S2  a free block begins a multiple of its size after the first of a run of its class
    S3  a block has its live bit set if, and only if, it is in use; no other bit is set
    S4  blocks in use, free and never handed out fill the runs
    S5  no block is listed twice

Vital statistics: overhead 1/126, smallest block 16, alignment 16; alloc and dealloc O(1), without a
search, a split or a merge; nothing but mappings is given back. At most a fifth of a block is rounding. A second free, a
foreign address and the inside of a block are noticed, where the run that an address would have is mapped.
"""

from __future__ import annotations

from heapwright.allocators.huge_blocks import alloc_huge, dealloc_huge, huge_size, is_huge, resize_huge, walk_huge
from heapwright.allocators.pages_kept import Pages, offer_again
from heapwright.allocators.size_classes import class_of, size_of_class
from heapwright.bits import align_down, align_up, below, bit, is_aligned
from heapwright.layout import NULL, Array, Inline, Struct, Word, Word32
from heapwright.spans import FREE, OWN, UNUSED, USED

RUN = 1 << 18
MOST_SMALL = RUN // 4  # of which three fit
CLASSES = class_of(MOST_SMALL) + 1
GROWTH = 4 * RUN
RUN_MAGIC = 0x5E61E6A7
UNIT = 16

SLOW_PATHS = ("next_fresh", "alloc_huge", "dealloc_huge", "move", "report")
DETECTS = ("double free", "foreign", "interior")
RETAINS = "all that sbrk gave: a run has one class for good"


class Block(Struct):
    next: Block


class Run(Struct):
    magic: Word
    size_class: Word
    size: Word  # of its blocks
    live: Array[Word32, RUN // UNIT // 32]


class SizeClass(Struct):
    free: Block
    fresh: Word  # the first byte of the newest run that was never handed out
    limit: Word  # where its last block ends
    size: Word  # 0 until there is a run


class Heap(Struct):
    fresh: Word  # memory that is not a run yet
    end: Word
    pages: Inline[Pages]
    classes: Array[Inline[SizeClass], CLASSES]


# --- runs


def run_of(heap, address):
    return Run(heap.memory, align_down(address, RUN))


def first_of(run):
    return run.address + align_up(Run.SIZE, run.size & -run.size)


def limit_of(run):
    room = run.address + RUN - first_of(run)
    return run.address + RUN - room % run.size


def fresh_of(heap, run):
    """Where what was never handed out of a run begins."""
    newest = heap.classes[run.size_class]
    return newest.fresh if run.address < newest.limit <= run.address + RUN else limit_of(run)


def is_block(heap, run, address):
    """Whether a block that was handed out once begins here."""
    first = first_of(run)
    return first <= address < fresh_of(heap, run) and (address - first) % run.size == 0


# --- the live bits: 32 to a word, each for 16 bytes


def is_live(run, address):
    offset = address - run.address
    return run.live[offset >> 9] & bit((offset >> 4) & 31) != 0 and is_aligned(address, UNIT)


def flip_live(run, address):
    offset = address - run.address
    run.live[offset >> 9] ^= bit((offset >> 4) & 31)


def live_run_of(heap, address):
    """The run of a live block; any other address is a misuse."""
    run = run_of(heap, address)
    if run.magic != RUN_MAGIC or not is_live(run, address):
        report(heap, run, address)
    return run


def report(heap, run, address):
    if run.magic != RUN_MAGIC:
        heap.memory.fault("not a block of this heap", address)
    if is_block(heap, run, address):
        heap.memory.fault("double free", address)
    heap.memory.fault("no block begins here", address)


# --- new memory


def next_fresh(heap, size_class):
    """A block that was never handed out; null when memory is exhausted."""
    own = heap.classes[size_class]
    if own.fresh == own.limit and not add_run(heap, size_class):
        return own.free.at(NULL)
    address = own.fresh
    own.fresh += own.size
    return own.free.at(address)


def add_run(heap, size_class):
    """Make a run of a class from new memory; False if there is none."""
    while heap.end - heap.fresh < RUN:
        if not grow(heap):
            return False
    run = Run(heap.memory, heap.fresh)
    heap.fresh += RUN
    run.magic = RUN_MAGIC
    run.size_class = size_class
    run.size = size_of_class(size_class)
    heap.memory.fill(run.live.address, Run.SIZE - Run.live.offset, 0)
    own = heap.classes[size_class]
    own.size = run.size
    own.fresh = first_of(run)
    own.limit = limit_of(run)
    return True


def grow(heap):
    """Move the break; what comes from elsewhere than the last time begins anew, at a multiple of a run."""
    start = heap.memory.sbrk(GROWTH)
    if start == -1:
        return False
    if start != heap.end:
        heap.fresh = align_up(start, RUN)
    heap.end = start + GROWTH
    return True


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted: the block freed last, of the right class."""
    if below(MOST_SMALL, size) or align > MOST_SMALL:
        return alloc_huge(heap, size, align, RUN)
    size_class = class_of(align_up(max(size, 1), align))
    own = heap.classes[size_class]
    block = own.free
    if block:
        own.free = block.next
    else:
        block = next_fresh(heap, size_class)
        if not block:
            return NULL
    flip_live(run_of(heap, block.address), block.address)
    return block.address


def dealloc(heap, address, size, align):
    """Push the block on the list of its class."""
    if is_huge(address, RUN):
        dealloc_huge(heap, address)
        return
    run = live_run_of(heap, address)
    flip_live(run, address)
    own = heap.classes[run.size_class]
    block = own.free.at(address)
    block.next = own.free
    own.free = block


def alloc_zeroed(heap, size, align):
    """A mapping of its own is full of zeros already."""
    address = alloc(heap, size, align)
    if not is_huge(address, RUN):
        heap.memory.fill(address, size, 0)
    return address


def realloc(heap, address, size, align, new_size):
    """Resize a mapping; stay in a block that is half full at least; else move."""
    if is_huge(address, RUN) and below(MOST_SMALL, new_size) and resize_huge(heap, address, new_size):
        return address
    usable = usable_size(heap, address)
    if usable >> 1 <= new_size <= usable:
        return address
    return move(heap, address, usable, align, new_size)


def move(heap, address, usable, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(usable, new_size))
        dealloc(heap, address, usable, align)
    return target


def trim(heap):
    """Offer the kernel the mappings that it did not take back; return how many bytes went."""
    return offer_again(heap.pages)


def usable_size(heap, address):
    return huge_size(heap, address) if is_huge(address, RUN) else live_run_of(heap, address).size


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end): runs in what sbrk gave, elsewhere what is mapped."""
    place = start
    while place < end:
        if not is_from_sbrk(heap, place):
            for span in walk_huge(heap, place):
                yield span
                place += span[1]
        elif is_run(heap, place, end):
            for span in walk_run(heap, Run(heap.memory, place)):  # noqa: UP028  `yield from` does not compile
                yield span
            place += RUN
        else:
            rest = min(align_down(place, RUN) + RUN, end) - place
            yield place, rest, UNUSED
            place += rest


def is_from_sbrk(heap, place):
    return heap.memory.stretch_start() <= place < heap.memory.stretch_end()


def is_run(heap, place, end):
    """Whether a run begins here: not in front of the first multiple, nor in what somebody else cut short."""
    is_whole = is_aligned(place, RUN) and place + RUN <= end
    return is_whole and not heap.fresh <= place < heap.end and Run(heap.memory, place).magic == RUN_MAGIC


def walk_run(heap, run):
    """The header, each block, and what was never handed out."""
    first, fresh = first_of(run), fresh_of(heap, run)
    yield run.address, first - run.address, OWN
    for place in range(first, fresh, run.size):
        yield place, run.size, USED if is_live(run, place) else FREE
    if fresh < run.address + RUN:
        yield fresh, run.address + RUN - fresh, UNUSED


def check(heap, start, end):
    lists = [list_of(heap, size_class) for size_class in range(CLASSES)]
    assert all(len(set(places)) == len(places) for places in lists), "S5  no block is listed twice"
    places = range(align_up(start, RUN), end, RUN) if is_from_sbrk(heap, start) else []
    for run in (Run(heap.memory, place) for place in places if is_run(heap, place, end)):
        check_run(heap, run, [place for place in lists[run.size_class] if align_down(place, RUN) == run.address])
    for size_class, places in enumerate(lists):
        assert all(run_of(heap, place).size_class == size_class for place in places), (
            "S2  a free block begins a multiple of its size after the first of a run of its class"
        )


def check_run(heap, run, free):
    assert is_aligned(run.address, RUN) and run.size == size_of_class(run.size_class), (
        "S1  a run lies at a multiple of 256 KiB and has one class for good"
    )
    assert all(is_block(heap, run, place) for place in free), (
        "S2  a free block begins a multiple of its size after the first of a run of its class"
    )
    handed_out = set(range(first_of(run), fresh_of(heap, run), run.size))
    live = live_in(run)
    assert live <= handed_out and not live & set(free), (
        "S3  a block has its live bit set if, and only if, it is in use; no other bit is set"
    )
    assert live | set(free) == handed_out, "S4  blocks in use, free and never handed out fill the runs"


def live_in(run):
    """The addresses whose live bits are set."""
    words = [(i, run.live[i]) for i in range(len(run.live))]
    return {run.address + (32 * i + k) * UNIT for i, word in words if word != 0 for k in range(32) if word & bit(k)}


def list_of(heap, size_class):
    """The addresses of a class's free blocks, up to the first that comes again."""
    places, seen = [], set()
    block = heap.classes[size_class].free
    while block and len(seen) == len(places):
        places.append(block.address)
        seen.add(block.address)
        block = block.next
    return places
