"""Each defect of the conversation's PageAllocator: a scenario that fails on the specimen, and passes on ours.

A scenario states the good outcome. C1 and C11, which its compiler and its libraries had to say, left nothing that
could be tested; C10 is a defect that is none, and C13 says what is right.
"""

from heapwright import allocator
from heapwright.machine import start
from heapwright.spans import USED

from .defects import KIB, MIB, Defects, accesses, kernel_calls, load_specimen

SPECIMEN = load_specimen("page_allocator.py")
PAGES = allocator.load("pages")
PAGES_SPLIT = allocator.load("pages_split")
DEFECTS = Defects(SPECIMEN, passes=(PAGES, PAGES_SPLIT))
defect = DEFECTS.register


@defect("C2", "which is not a multiple of 65536")
def every_alignment_is_kept(design):
    heap = start(design)
    for _ in range(64):
        assert heap.alloc(100, 64 * KIB) != 0
    for shift in range(21):
        assert heap.alloc(100, 1 << shift) != 0


@defect("C3", "1000 blocks of 16 bytes take 4000 KiB", passes=(PAGES_SPLIT,))
def small_blocks_share_pages(design):
    heap = start(design)
    for _ in range(1000):
        heap.alloc(16)
    held = heap.memory.held() // KIB
    assert held <= 128, f"1000 blocks of 16 bytes take {held} KiB"


@defect("C4", "2000 calls of the kernel", passes=(PAGES_SPLIT,))
def few_blocks_take_a_call_of_the_kernel(design):
    heap = start(design)
    heap.alloc(16)
    calls = kernel_calls(heap)
    for _ in range(1000):
        heap.dealloc(heap.alloc(16))
    assert len(calls) <= 10, f"{len(calls)} calls of the kernel"


@defect("C5", "9223372036854775808")
def sizes_stay_numbers(design):
    heap = start(design)
    calls = kernel_calls(heap)
    assert heap.alloc((1 << 63) - 1) == 0
    assert not [n for n in calls if n >= 1 << 63], f"asked for {max(calls)} bytes"


@defect("C6", "asked for 4096 bytes where pages have 16384")
def a_page_has_the_size_it_has(design):
    for page in 4096, 16384, 65536:
        heap = start(design, page=page)
        calls = kernel_calls(heap)
        heap.alloc(100)
        for n in calls:
            assert n % page == 0, f"asked for {n} bytes where pages have {page}"


@defect("C7", "fill of 1048576 bytes")
def zeros_are_not_cleared(design):
    heap = start(design)
    seen = accesses(heap)
    heap.alloc_zeroed(MIB)
    bulk = [f"{what} of {size} bytes" for what, _, size in seen if size > 64 * KIB]
    assert not bulk, bulk[0]


@defect("C7", "copy of 1048576 bytes")
def what_the_kernel_can_move_is_not_copied(design):
    heap = start(design)
    block = heap.alloc(MIB)
    heap.alloc(100 * KIB)
    seen = accesses(heap)
    assert heap.realloc(block, 3 * MIB) != 0
    bulk = [f"{what} of {size} bytes" for what, _, size in seen if size > 64 * KIB]
    assert not bulk, bulk[0]


@defect("C7", "copy of 100 bytes", passes=(PAGES,))
def within_its_pages_a_block_stays(design):
    heap = start(design)
    block = heap.alloc(100)
    seen = accesses(heap)
    moved = heap.realloc(block, 4000)
    assert moved == block, next(f"{what} of {size} bytes" for what, _, size in seen if what == "copy")


@defect("C8", "1024 KiB are lost")
def what_the_kernel_does_not_take_serves_again(design):
    heap = start(design)
    block = heap.alloc(MIB)
    heap.process.memory.munmap = lambda address, size: -1
    heap.dealloc(block)
    calls = kernel_calls(heap)
    assert heap.alloc(MIB) == block, f"{calls[-1] // KIB} KiB are lost"


@defect("C9", "no memory for no bytes")
def no_bytes_are_a_block(design):
    heap = start(design)
    blocks = {heap.alloc(0) for _ in range(10)}
    assert 0 not in blocks, "no memory for no bytes"
    assert len(blocks) == 10


@defect("C12", "1 of 3 blocks is known")
def what_is_in_use_is_known(design):
    heap = start(design)
    for size in 100, 5000, 100 * KIB:
        heap.alloc(size)
    known = sum(kind == USED for _, _, kind in heap.spans())
    assert known == 3, f"{known} of 3 blocks is known"
