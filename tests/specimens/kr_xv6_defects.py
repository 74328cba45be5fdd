"""Each defect of xv6's malloc: a scenario that fails on the specimen, as is said, and passes on ours.

A scenario states the good outcome.
"""

from heapwright import allocator
from heapwright.machine import start

from .defects import GIB, KIB, Defects, growths, kernel_calls, load_specimen
from .scenarios import (
    free_of_null_does_nothing,
    freeing_twice_is_noticed,
    memory_goes_back_when_all_is_freed,
    requests_beyond_31_bits_fail,
)

SPECIMEN = load_specimen("kr_xv6.py")
KR = allocator.load("kr")
LINKED_LIST = allocator.load("linked_list")
DLMALLOC = allocator.load("dlmalloc")
DEFECTS = Defects(SPECIMEN, passes=(KR, DLMALLOC))
defect = DEFECTS.register


# --- the scenarios


defect("KR1", "load of 8 bytes at 0x0")(free_of_null_does_nothing)
defect("KR2", "a loop that does not end", passes=(LINKED_LIST, DLMALLOC))(freeing_twice_is_noticed)
defect("KR3", "which overlap a live block", passes=(KR,))(requests_beyond_31_bits_fail)
defect("KR5", "1024 KiB are kept", passes=(LINKED_LIST,))(memory_goes_back_when_all_is_freed)


@defect("KR3", "takes live payload")
def a_vast_request_takes_nothing_away(design):
    heap = start(design)
    heap.alloc(100 * KIB)
    assert heap.alloc(4 * GIB - 64 * KIB - 32) == 0


@defect("KR3", "returned 4294967295 bytes")
def a_block_has_the_bytes_that_were_asked_for(design):
    heap = start(design)
    calls = kernel_calls(heap)
    assert heap.alloc(4 * GIB - 1) == 0
    assert 16 not in calls


@defect("KR4", "which is not a multiple of 4")
def a_misaligned_break_misaligns_no_block(design):
    heap = start(design)
    heap.process.user.sbrk(1)
    assert heap.alloc(100) % 16 == 0


@defect("KR4", "which is not a multiple of 4")
def a_break_that_somebody_moves_misaligns_no_block(design):
    heap = start(design)
    calls = kernel_calls(heap)
    heap.alloc(100)
    heap.process.user.sbrk(10)
    assert heap.alloc(100 * KIB) % 16 == 0
    assert growths(calls) >= 3
