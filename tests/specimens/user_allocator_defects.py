"""Each defect of xv6rs's UserAllocator: a scenario that fails on the specimen, as is said, and passes on ours.

A scenario states the good outcome. D21, the need for a nightly compiler, left nothing that could be tested.
"""

import ast
import sys

from heapwright import allocator
from heapwright.machine import start
from heapwright.spans import FREE, USED

from .defects import (
    KIB,
    MIB,
    Defects,
    bytes_of_kind,
    free_all,
    functions_of,
    growths,
    heap_bytes,
    kernel_calls,
    load_specimen,
    some_story,
    source_of,
    state_of,
)
from .scenarios import (
    freeing_twice_is_noticed,
    memory_goes_back_when_all_is_freed,
    requests_beyond_31_bits_fail,
    two_threads_get_two_blocks,
)

SPECIMEN = load_specimen("user_allocator.py")
LINKED_LIST = allocator.load("linked_list")
KR = allocator.load("kr")
DEFECTS = Defects(SPECIMEN, passes=(LINKED_LIST, KR))
defect = DEFECTS.register

INTERFACE = {"alloc", "dealloc", "realloc", "alloc_zeroed", "usable_size", "trim", "survey", "walk", "check"}


# --- what they do


def fill(heap, size):
    """Blocks of one size until the first growth is used up."""
    blocks = [heap.alloc(size, 8), heap.alloc(size, 8)]
    cost = abs(blocks[1] - blocks[0])
    while len(blocks) < heap_bytes(heap) // cost:
        blocks.append(heap.alloc(size, 8))
    return blocks


def push_to_a_mebibyte(heap):
    """A `Vec<u8>` that doubles; return how often it moved."""
    address, size, moves = heap.alloc(8, 1), 8, 0
    while size < MIB:
        size *= 2
        moved = heap.realloc(address, size)
        moves += moved != address
        address = moved
    return moves


# --- the scenarios


@defect("D1", "store of 8 bytes at 0x0, near null")
def a_first_growth_that_fails_gives_0(design):
    heap = start(design)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(100) == 0
    assert heap.process.peek(0, heap.process.space.data) == bytes(heap.process.space.data)


@defect("D2", "store of 8 bytes at 0x0, near null")
def a_later_growth_that_fails_gives_0_and_changes_nothing(design):
    heap = start(design)
    heap.alloc(100)
    before = state_of(heap)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(MIB) == 0
    assert state_of(heap) == before


@defect("D3", "asked the kernel for more")
def small_blocks_that_were_freed_serve_a_large_one(design):
    heap = start(design)
    calls = kernel_calls(heap)
    fill(heap, 64)
    free_all(heap)
    assert heap.alloc(heap_bytes(heap) // 2) != 0
    assert growths(calls) == 1, "asked the kernel for more"


@defect("D3", "a heap of 512 KiB for 64 KiB")
def phases_of_larger_and_larger_blocks_share_their_memory(design):
    heap = start(design)
    for phase in range(8):
        for _ in range(1024 >> phase):
            heap.alloc(64 << phase)
        free_all(heap)
    assert heap_bytes(heap) <= 192 * KIB, f"a heap of {heap_bytes(heap) // KIB} KiB for 64 KiB"


@defect("D4", "asked the kernel for more")
def a_hole_of_32_bytes_serves_24(design):
    heap = start(design)
    calls = kernel_calls(heap)
    heap.dealloc(fill(heap, 32)[1])
    assert heap.alloc(24, 8) != 0
    assert growths(calls) == 1, "asked the kernel for more"


@defect("D5", "1008 bytes are lost")
def the_padding_in_front_of_an_aligned_block_stays_free(design):
    heap = start(design)
    first = heap.alloc(16)
    heap.alloc(1024, 1024)
    heap.dealloc(first)
    free_all(heap)
    lost = heap_bytes(heap) - bytes_of_kind(heap, FREE)
    assert lost == 0, f"{lost} bytes are lost"


@defect("D6", "alloc runs 2 deep")
def growth_calls_nothing_again(design):
    heap = start(design)
    deepest = 0

    def measure(*_):
        nonlocal deepest
        deepest = max(deepest, depth_of("alloc", source_of(design)))

    heap.process.observe(access=measure)
    heap.alloc(2 * heap.process.memory.PAGE)
    assert deepest == 1, f"alloc runs {deepest} deep"


def depth_of(function, file):
    """How many frames of the stack are calls of one function."""
    depth, frame = 0, sys._getframe()
    while frame:
        depth += frame.f_code.co_name == function and frame.f_code.co_filename == str(file)
        frame = frame.f_back
    return depth


@defect("D7", "store of 8 bytes at 0x0, near null")
def every_alignment_takes_at_most_two_kernel_calls(design, foreign=0):
    for shift in reversed(range(21)):
        heap = start(design, frames=2048)
        heap.process.user.sbrk(foreign)
        calls = kernel_calls(heap)
        assert heap.alloc(4096, 1 << shift) != 0
        assert len(calls) <= 2, f"{len(calls)} calls of sbrk"


@defect("D7", "store of 8 bytes at 0x0, near null")
def a_misaligned_break_takes_no_more(design):
    every_alignment_takes_at_most_two_kernel_calls(design, foreign=1)


defect("D8", "which are not all mapped")(requests_beyond_31_bits_fail)


@defect("D9", "alloc calls itself endlessly")
def requests_near_the_largest_number_fail(design):
    for size in (1 << 63) - 8, (1 << 63) - 4096, 1 << 62, (1 << 62) - 1:
        for align in 1, 8, 16, 4096, 1 << 30:
            heap = start(design)
            if size <= (1 << 63) - align:  # D12 is about the others
                assert heap.alloc(size, align) == 0
                assert heap_bytes(heap) == 0


defect("D10", "live payload touched by the allocator")(two_threads_get_two_blocks)


@defect("D11", "nobody calls add_free_region, find_region, grow_heap")
def every_function_is_called(design):
    bodies = functions_of(design)
    reached, waiting = set(), [name for name in bodies if name in INTERFACE]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        names = {node.id for node in ast.walk(bodies[name]) if isinstance(node, ast.Name)}
        waiting += (names & bodies.keys()) - reached
    dead = sorted(bodies.keys() - reached)
    assert not dead, f"nobody calls {', '.join(dead)}"


@defect("D12", "adjusting alignment failed")
def no_request_raises(design):
    heap = start(design)
    for size in (1 << 63) - 1, (1 << 63) - 8:
        for align in 8, 16, 1 << 30:
            assert heap.alloc(size, align) == 0


@defect("D13", "bytes are lost")
def every_byte_is_free_when_all_is_freed(design):
    heap = start(design)
    some_story(heap)
    free_all(heap)
    lost = heap_bytes(heap) - bytes_of_kind(heap, FREE)
    assert lost == 0, f"{lost} bytes are lost"


defect("D14", "a loop that does not end", passes=(LINKED_LIST,))(freeing_twice_is_noticed)
defect("D15", "1028 KiB are kept", passes=(LINKED_LIST,))(memory_goes_back_when_all_is_freed)


@defect("D16", "moved 17 times", passes=(LINKED_LIST,))
def a_vector_at_the_end_of_the_heap_grows_in_place(design):
    moves = push_to_a_mebibyte(start(design))
    assert moves == 0, f"moved {moves} times"


@defect("D17", "took the block freed last", passes=(LINKED_LIST,))
def the_lowest_hole_is_taken_first(design):
    heap = start(design)
    low, _, high, _ = (heap.alloc(64) for _ in range(4))
    heap.dealloc(low)
    heap.dealloc(high)
    taken = heap.alloc(64)
    assert taken == low, "took the block freed last"


@defect("D18", "24 bytes cost 2032", passes=(LINKED_LIST,))
def an_alignment_costs_no_bytes_behind_the_block(design):
    for align in 16, 1024:
        heap = start(design)
        heap.dealloc(heap.alloc(16))
        before = bytes_of_kind(heap, FREE)
        heap.alloc(24, align)
        cost = before - bytes_of_kind(heap, FREE)
        assert cost <= 32, f"24 bytes cost {cost}"


@defect("D19", "bytes are in use, by blocks of", passes=(LINKED_LIST,))
def what_walk_says_is_in_use_is_what_live_blocks_take(design):
    heap = start(design)
    some_story(heap)
    units = [8 if design is SPECIMEN else 16, 16]  # sizes are rounded up to the first, and at least the second
    taken = sum(max(-(-block.size // units[0]) * units[0], units[1]) for block in heap.live.values())
    used = bytes_of_kind(heap, USED)
    assert used == taken, f"{used} bytes are in use, by blocks of {taken}"


@defect("D20", "a heap of 2048 KiB", passes=(LINKED_LIST,))
def a_vector_of_a_mebibyte_ends_in_little_more(design):
    heap = start(design)
    push_to_a_mebibyte(heap)
    assert heap_bytes(heap) <= 1.25 * MIB, f"a heap of {heap_bytes(heap) // KIB} KiB"
