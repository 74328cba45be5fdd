"""Simple segregated storage: each size class has its own memory, and a block never changes its size.

Source: P. Wilson, M. Johnstone, M. Neely, D. Boles, Dynamic Storage Allocation: A Survey and Critical Review, IWMM
1995, section 3.6, the first of the two designs called segregated free lists. In the second (see segregated_fits),
the lists only index free blocks, which are split and merged. Here no block is ever split or merged. The price is that
memory that has served one class never serves another.

Classes are those of size_classes. Blocks lie in runs of 256 KiB at multiples of 256 KiB, each of one class, so a mask
leads from an address to its run:

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

Fields of the allocator: for each class, the list of its free blocks, last in first out, and the part of its newest run
that was never handed out; memory from sbrk that is not a run yet; and the mappings that the kernel refused to take back
(kept_pages).

`alloc` pops a block from the list of its class. If the list is empty, it takes the next block of the newest run, or
makes a new run. Each request above 64 KiB gets its own mapping (huge_blocks). `dealloc` pushes the block on the list.

Invariants
    S1  a run lies at a multiple of 256 KiB and has one class for good
    S2  a free block begins a multiple of its size after the first of a run of its class
    S3  a block has its live bit set if, and only if, it is in use; no other bit is set
    S4  blocks in use, free and never handed out fill the runs
    S5  no block is listed twice

No call searches, splits or merges. `trim` does not release the pages of free blocks, because they hold the links of the
lists. Rounding wastes at most a fifth of a block. A double free, a foreign address and an address inside a block are
reported.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.parts import huge_blocks, kept_pages, size_classes
from heapwright.allocators.parts.huge_blocks import HugeBlocks
from heapwright.allocators.parts.kept_pages import Pages
from heapwright.layout import NULL, Array, Inline, Struct, Word, Word32

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "1/126 of each run"
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(1)"
DEALLOC_COST = "O(1)"
GIVES_BACK = "mappings only"

RUN = 1 << 18
MAX_SMALL = RUN // 4  # three blocks of this size fit into a run
CLASSES = size_classes.class_of(MAX_SMALL) + 1
GROWTH = 4 * RUN
RUN_MAGIC = 0x5E61E6A7
UNIT = 16

SLOW_PATHS = ("next_fresh", "alloc_huge", "dealloc_huge", "move", "report", "refuse_unmapped")
DETECTS = ("double free", "foreign", "interior")
RETAINS = "all that sbrk gave: a run has one class for good"


class Block(Struct):
    next: Block


class Run(Struct):
    magic: Word
    size_class: Word
    size: Word  # size of its blocks in bytes
    live: Array[Word32, RUN // UNIT // 32]


class SizeClass(Struct):
    free: Block
    fresh: Word  # the first byte of the newest run that was never handed out
    limit: Word  # the end of the last block in the newest run
    size: Word  # size of the blocks in bytes; 0 until there is a run


class Heap(Struct):
    first: Word  # the first run in the newest extent of memory
    fresh: Word  # the start of the memory behind its runs that is not a run yet
    end: Word  # the end of that memory
    pages: Inline[Pages]
    huge: Inline[HugeBlocks]
    classes: Array[Inline[SizeClass], CLASSES]


# --- runs


def run_of(heap, address):
    return Run(heap.memory, bits.align_down(address, RUN))


def first_of(run):
    return run.address + bits.align_up(Run.SIZE, run.size & -run.size)


def limit_of(run):
    room = run.address + RUN - first_of(run)
    return run.address + RUN - room % run.size


def fresh_of(heap, run):
    """The start of the part of a run that was never handed out."""
    newest = heap.classes[run.size_class]
    return newest.fresh if run.address < newest.limit <= run.address + RUN else limit_of(run)


def is_block(heap, run, address):
    """Whether a block begins here that has been handed out at least once."""
    first = first_of(run)
    return first <= address < fresh_of(heap, run) and (address - first) % run.size == 0


# --- the live bits: 32 to a word, each for 16 bytes


def is_live(run, address):
    offset = address - run.address
    return run.live[offset >> 9] & bits.bit((offset >> 4) & 31) != 0 and bits.is_aligned(address, UNIT)


def flip_live(run, address):
    offset = address - run.address
    run.live[offset >> 9] ^= bits.bit((offset >> 4) & 31)


def live_run_of(heap, address):
    """The run of a live block; report any other address."""
    run = run_of(heap, address)
    if not bits.unsigned_less(run.address - heap.first, heap.fresh - heap.first):
        refuse_unmapped(heap, run, address)
    if run.magic != RUN_MAGIC or not is_live(run, address):
        report(heap, run, address)
    return run


def refuse_unmapped(heap, run, address):
    """Report an address outside the newest extent whose run would not be mapped."""
    if not heap.memory.is_mapped(run.address):
        heap.memory.fault("not a block of this heap", address)


def report(heap, run, address):
    if run.magic != RUN_MAGIC:
        heap.memory.fault("not a block of this heap", address)
    if is_block(heap, run, address):
        heap.memory.fault("double free", address)
    heap.memory.fault("no block begins here", address)


# --- new memory


def next_fresh(heap, size_class):
    """Take a block that was never handed out; null when memory is exhausted."""
    own = heap.classes[size_class]
    if own.fresh == own.limit and not add_run(heap, size_class):
        return own.free.at(NULL)
    address = own.fresh
    own.fresh += own.size
    return own.free.at(address)


def add_run(heap, size_class):
    """Make a run of a class from new memory; False when memory is exhausted."""
    while heap.end - heap.fresh < RUN:
        if not grow(heap):
            return False
    run = Run(heap.memory, heap.fresh)
    heap.fresh += RUN
    run.magic = RUN_MAGIC
    run.size_class = size_class
    run.size = size_classes.size_of_class(size_class)
    heap.memory.fill(run.live.address, Run.SIZE - Run.live.offset, 0)
    own = heap.classes[size_class]
    own.size = run.size
    own.fresh = first_of(run)
    own.limit = limit_of(run)
    return True


def grow(heap):
    """Move the break. Memory that does not continue the last extent starts a new one, at a multiple of RUN."""
    start = heap.memory.sbrk(GROWTH)
    if start == -1:
        return False
    if start != heap.end:
        heap.first = bits.align_up(start, RUN)
        heap.fresh = heap.first
    heap.end = start + GROWTH
    return True


# --- the allocator


def alloc(heap, size, align):
    """Return the address of the most recently freed block of the class, or of a new one; 0 when memory is exhausted."""
    if bits.unsigned_less(MAX_SMALL, size) or align > MAX_SMALL:
        return huge_blocks.alloc_huge(heap, size, align, RUN)
    size_class = size_classes.class_of(bits.align_up(max(size, 1), align))
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
    if huge_blocks.is_huge(address, RUN):
        huge_blocks.dealloc_huge(heap, address)
        return
    run = live_run_of(heap, address)
    flip_live(run, address)
    own = heap.classes[run.size_class]
    block = own.free.at(address)
    block.next = own.free
    own.free = block


def alloc_zeroed(heap, size, align):
    """Clear the block, unless it has its own mapping, which is full of zeros."""
    address = alloc(heap, size, align)
    if not huge_blocks.is_huge(address, RUN):
        heap.memory.fill(address, size, 0)
    return address


def realloc(heap, address, size, align, new_size):
    """Resize a mapping, stay in a block that remains at least half full, or move."""
    if (
        huge_blocks.is_huge(address, RUN)
        and bits.unsigned_less(MAX_SMALL, new_size)
        and huge_blocks.resize_huge(heap, address, new_size)
    ):
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


def trim(heap, pad):
    """Release the mappings that the kernel refused before; return the number of bytes released."""
    return kept_pages.offer_again(heap.pages)


def usable_size(heap, address):
    return (
        huge_blocks.huge_size(heap, address) if huge_blocks.is_huge(address, RUN) else live_run_of(heap, address).size
    )


# --- inspection


def survey(heap, account):
    stats.begin(heap.memory, account)
    huge_blocks.survey_huge(heap, account)
    stats.add_rest(account, heap.end - heap.fresh)
    for size_class in range(CLASSES):
        own = heap.classes[size_class]
        stats.add_rest(account, own.limit - own.fresh)
        block = own.free
        while block:
            stats.add_free(account, 1, own.size)
            block = block.next


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end): of runs in sbrk's memory, and huge blocks elsewhere."""
    place = start
    while place < end:
        if not is_from_sbrk(heap, place):
            for span in huge_blocks.walk_huge(heap, place):
                yield span
                place += span[1]
        elif is_run(heap, place, end):
            for span in walk_run(heap, Run(heap.memory, place)):  # noqa: UP028  `yield from` does not compile
                yield span
            place += RUN
        else:
            rest = min(bits.align_down(place, RUN) + RUN, end) - place
            yield place, rest, spans.UNUSED
            place += rest


def is_from_sbrk(heap, place):
    return heap.memory.extent_start() <= place < heap.memory.extent_end()


def is_run(heap, place, end):
    """Whether a run begins here. None begins before the first multiple of RUN, or where other code cut memory short."""
    is_whole = bits.is_aligned(place, RUN) and place + RUN <= end
    return is_whole and not heap.fresh <= place < heap.end and Run(heap.memory, place).magic == RUN_MAGIC


def walk_run(heap, run):
    """Yield the header, each block, and the part never handed out."""
    first, fresh = first_of(run), fresh_of(heap, run)
    yield run.address, first - run.address, spans.OWN
    for place in range(first, fresh, run.size):
        yield place, run.size, spans.USED if is_live(run, place) else spans.FREE
    if fresh < run.address + RUN:
        yield fresh, run.address + RUN - fresh, spans.UNUSED


def check(heap, start, end):
    lists = [list_of(heap, size_class) for size_class in range(CLASSES)]
    assert all(len(set(places)) == len(places) for places in lists), "S5  no block is listed twice"
    places = range(bits.align_up(start, RUN), end, RUN) if is_from_sbrk(heap, start) else []
    for run in (Run(heap.memory, place) for place in places if is_run(heap, place, end)):
        check_run(heap, run, [place for place in lists[run.size_class] if bits.align_down(place, RUN) == run.address])
    for size_class, places in enumerate(lists):
        assert all(run_of(heap, place).size_class == size_class for place in places), (
            "S2  a free block begins a multiple of its size after the first of a run of its class"
        )


def check_run(heap, run, free):
    assert bits.is_aligned(run.address, RUN) and run.size == size_classes.size_of_class(run.size_class), (
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
    return {
        run.address + (32 * i + k) * UNIT for i, word in words if word != 0 for k in range(32) if word & bits.bit(k)
    }


def list_of(heap, size_class):
    """The addresses of a class's free blocks, up to the first that occurs twice."""
    places, seen = [], set()
    block = heap.classes[size_class].free
    while block and len(seen) == len(places):
        places.append(block.address)
        seen.add(block.address)
        block = block.next
    return places
