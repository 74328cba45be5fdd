"""Each defect of the outline that was given out as dlmalloc: a scenario that fails on it, and passes on ours.

A scenario states the good outcome. B1, without which nothing runs, is mended in the specimen. Blocks of the outline
are aligned to 4 at best, so no more is asked for unless it is the matter. Where `free` is not the matter, the outline
gets one that finds the flag.
"""

import ast

from heapwright import allocator
from heapwright.machine import start
from heapwright.spans import FREE

from .defects import (
    KIB,
    MIB,
    Defects,
    accesses,
    bytes_of_kind,
    fields_of,
    functions_of,
    growths,
    heap_bytes,
    kernel_calls,
    load_specimen,
    state_of,
)
from .scenarios import for_threads, free_of_null_does_nothing, freeing_twice_is_noticed, two_at_once

SPECIMEN = load_specimen("outline_dlmalloc.py")
DLMALLOC = allocator.load("dlmalloc")
KR = allocator.load("kr")
LINKED_LIST = allocator.load("linked_list")
DEFECTS = Defects(SPECIMEN, passes=(DLMALLOC, KR))
defect = DEFECTS.register


# --- what they do


def free_as_meant(heap, address):
    """Free a block and, for the outline, put the flag where `malloc` looks for it."""
    heap.dealloc(address)
    if heap.allocator is SPECIMEN:
        heap.process.poke(address - 8, bytes(4))  # the half of prev
        heap.process.poke(address - 4, bytes([1, 0, 0, 0]))


def blocks_apart(heap, *sizes):
    """A block of each size, and one in use behind each."""
    return [(heap.alloc(size, 4), heap.alloc(16, 4))[0] for size in sizes]


def accesses_of_one(heap):
    """How many loads and stores a request takes."""
    seen = accesses(heap)
    heap.alloc(16, 4)
    return len(seen)


# --- addresses


@defect("B2", "which is not a multiple of 16")
def every_address_is_a_multiple_of_16(design):
    for size in range(100):
        assert start(design).alloc(size, 16) != 0


@defect("B3", "which is not a multiple of 8")
def an_odd_size_misaligns_nothing_behind_it(design):
    heap = start(design)
    assert [heap.alloc(size, 1) % 4 for size in (1, 2, 3, 16)] == [0, 0, 0, 0]


# --- free


@defect("B4", "prev is not the block before")
def free_keeps_the_links(design):
    heap = start(design)
    heap.alloc(16, 4)
    heap.dealloc(heap.alloc(16, 4))
    heap.check()


@defect("B4", "a freed block is not free")
def free_makes_a_block_free(design):
    heap = start(design)
    first, _ = heap.alloc(64, 4), heap.alloc(16, 4)
    before = bytes_of_kind(heap, FREE)
    heap.dealloc(first)
    assert bytes_of_kind(heap, FREE) >= before + 64, "a freed block is not free"


@defect("B5", "301 growths")
def what_is_freed_serves_the_next_request(design):
    heap = start(design)
    calls = kernel_calls(heap)
    for _ in range(300):
        heap.dealloc(heap.alloc(64, 4))
    assert growths(calls) <= 2, f"{growths(calls)} growths"


@defect("B6", "the last block was not looked at")
def the_last_block_serves_too(design):
    heap = start(design)
    last = heap.alloc(64, 4)
    free_as_meant(heap, last)
    assert heap.alloc(64, 4) == last, "the last block was not looked at"


@defect("B7", "48 bytes serve nobody", passes=(KR, LINKED_LIST))
def every_byte_is_free_when_all_is_freed(design):
    heap = start(design)
    for block in [heap.alloc(64, 4) for _ in range(10)]:
        free_as_meant(heap, block)
    lost = heap_bytes(heap) - bytes_of_kind(heap, FREE)
    assert lost == 0, f"{lost} bytes serve nobody"


@defect("B8", "one byte took 65568")
def a_large_free_block_is_split(design):
    heap = start(design)
    free_as_meant(heap, *blocks_apart(heap, 64 * KIB))
    before = bytes_of_kind(heap, FREE)
    heap.alloc(1, 4)
    taken = before - bytes_of_kind(heap, FREE)
    assert taken <= 32, f"one byte took {taken}"


@defect("B8", "asked the kernel for more")
def neighbours_are_merged(design):
    heap = start(design)
    blocks = [heap.alloc(16 * KIB, 4) for _ in range(4)]
    heap.alloc(16, 4)
    for block in blocks:
        free_as_meant(heap, block)
    calls = kernel_calls(heap)
    assert heap.alloc(64 * KIB, 4) != 0
    assert growths(calls) == 0, "asked the kernel for more"


# --- the kernel says no


@defect("B9", "store of 8 bytes at")
def a_first_growth_that_fails_gives_0(design):
    heap = start(design)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(100, 4) == 0


@defect("B9", "store of 8 bytes at -0x1")
def a_later_growth_that_fails_gives_0_and_changes_nothing(design):
    heap = start(design)
    heap.alloc(100, 4)
    before = state_of(heap)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(MIB, 4) == 0
    assert state_of(heap) == before


@defect("B10", "store of 8 bytes at")
def a_size_near_the_largest_fails(design):
    heap = start(design)
    heap.alloc(16, 4)
    assert heap.alloc(-16, 4) == 0  # size_t: 2**64 - 16


@defect("B10", "takes live payload")
def a_vast_request_takes_nothing_away(design):
    heap = start(design)
    heap.alloc(8 * KIB, 4)
    assert heap.alloc(-4 * KIB - 32, 4) == 0


# --- misuse


defect("B11", "store of 4 bytes at -0x8")(free_of_null_does_nothing)


@defect("B11", "nobody noticed", passes=(DLMALLOC, LINKED_LIST))
def freeing_twice_is_reported(design):
    freeing_twice_is_noticed(design, align=4)


# --- what there is


@defect("B12", "there is no alloc_zeroed, realloc, trim, usable_size", passes=(DLMALLOC,))
def there_is_more_than_alloc_and_dealloc(design):
    missing = {"alloc_zeroed", "realloc", "trim", "usable_size"} - vars(design.parts[-1]).keys()
    assert not missing, f"there is no {', '.join(sorted(missing))}"


@defect("B12", "nobody reads prev", passes=(KR, LINKED_LIST))
def every_field_is_read(design):
    bodies = [body for name, body in functions_of(design).items() if name not in {"walk", "check"}]
    nodes = [node for body in bodies for node in ast.walk(body) if isinstance(node, ast.Attribute)]
    unread = fields_of(design) - {node.attr for node in nodes if isinstance(node.ctx, ast.Load)}
    assert not unread, f"nobody reads {', '.join(sorted(unread))}"


@defect("B13", "accesses with 200 blocks")
def a_request_takes_no_longer_for_many_live_blocks(design):
    heap = start(design)
    heap.alloc(16, 4)
    few = accesses_of_one(heap)
    for _ in range(200):
        heap.alloc(16, 4)
    many = accesses_of_one(heap)
    assert many <= 4 * few, f"{few} accesses, and {many} accesses with 200 blocks"


@defect("B14", "live payload")
def a_break_moved_between_two_calls_harms_nobody(design):
    for distance in 64, 1:
        heap = start(design)
        heap.process.observe(call=intruder(heap, distance))
        blocks = [heap.alloc(1000, 4) for _ in range(100)]
        assert 0 not in blocks


def intruder(heap, distance):
    """Whoever moves the break whenever the allocator has asked where it is."""

    def move_the_break(name, arguments, result, who):
        if who == "allocator" and arguments == (0,):
            heap.process.user.sbrk(distance)

    return move_the_break


@defect("B14", "walk tiles the extent: it ends at")
def two_threads_leave_the_heap_whole(design):
    for switch in range(1, 60):
        heap = start(for_threads(design))
        heap.alloc(16, 4)
        two_at_once(heap, switch, 4)
        heap.check()


@defect("B15", "took the hole of 400", passes=(DLMALLOC,))
def the_best_hole_is_taken(design):
    heap = start(design)
    large, exact = blocks_apart(heap, 400, 104)
    free_as_meant(heap, large)
    free_as_meant(heap, exact)
    assert heap.alloc(104, 4) == exact, "took the hole of 400"


@defect("B16", "24 bytes cost 56", passes=(DLMALLOC,))
def a_header_has_8_bytes(design):
    heap = start(design)
    first, second = heap.alloc(24, 4), heap.alloc(24, 4)
    assert second - first == 32, f"24 bytes cost {second - first}"
