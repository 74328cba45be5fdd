"""A machine that goes back to a checkpoint is as it was, and goes on as it did."""

import pytest

from heapwright.conformance import Subject
from heapwright.conformance.exhaustive import digest
from heapwright.conformance.story import Play, Step, busy_day
from heapwright.machine.checkpoint import Checkpoint

MAPPED = [Step("alloc", 0, 400_000), Step("realloc", -1, 900_000), Step("foreign", 0, 24), Step("free", 3)]


@pytest.mark.parametrize("spec", ["kr", "pages_split", "ptmalloc"])
def test_what_happens_after_a_checkpoint_can_happen_again(spec):
    begun = Play(Subject(spec).heap())
    begun.play(busy_day(12))
    process, before = begun.heap.process, digest(begun.heap)
    checkpoint = Checkpoint(process)
    told = []
    for _ in range(3):
        play = begun.copy(begun.heap)
        play.play([*MAPPED, *busy_day(20), Step("trim")])
        play.heap.check()
        told.append((play.lines, digest(play.heap), process.kernel.frames.taken))
        checkpoint.restore()
        process.check()
        assert digest(play.heap) == before
    assert told[0] == told[1] == told[2]
    assert told[0][1] != before


def test_bytes_that_nobody_may_read_make_no_other_state():
    """Contents of live blocks, and of free ones before anything is written there; a word of the allocator's does."""
    heap = Subject("kr").heap()
    block, free = heap.alloc(40), heap.alloc(400)
    heap.dealloc(free)
    before = digest(heap)
    heap.process.poke(block, b"\1" * 40)
    heap.process.poke(free + 200, b"\1" * 40)
    assert digest(heap) == before
    heap.process.poke(block - 8, b"\1")
    assert digest(heap) != before
