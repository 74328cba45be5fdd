"""Pictures of heaps and steps, as Python hands them out."""

from __future__ import annotations

import pytest

from heapwright import draw, start
from heapwright.allocators import ALLOCATORS
from heapwright.collections import Box, drop, serve
from heapwright.machine import Heap as MachineHeap


def holed(name):
    heap = start(name)
    first, second = heap.alloc(3000), heap.alloc(3000)
    heap.dealloc(first)
    return heap, second


@pytest.mark.parametrize("name", ["kr", "linked_list", "dlmalloc"])
def test_a_heap_that_nobody_watched_has_its_arrows(name):
    heap = start(name)
    for address in [heap.alloc(3000) for _ in range(6)][::2]:
        heap.dealloc(address)
    assert "free list" in str(heap.draw())
    assert len(heap.draw().scene.links) >= 2


@pytest.mark.parametrize("name", ALLOCATORS)
def test_drawing_changes_nothing(name):
    heap, second = holed(name)
    before = bytes(heap.process.peek(0, heap.process.brk)), heap.memory.left, heap.process.thread.call
    first = str(heap.draw())
    assert str(heap.draw()) == first
    assert (bytes(heap.process.peek(0, heap.process.brk)), heap.memory.left, heap.process.thread.call) == before
    assert not heap.process.access_observers and not heap.process.call_observers
    heap.dealloc(second)
    heap.check()


def test_a_step_knows_what_the_words_were():
    heap, second = holed("kr")
    with heap.watch() as steps:
        heap.dealloc(second)
        grown = heap.realloc(heap.alloc_zeroed(24), 100)
    assert [step.text().partition("(")[0] for step in steps] == ["#1 dealloc", "#2 alloc_zeroed", "#3 realloc"]
    assert "units at 0x" in steps[0].text() and " -> 4,096" in steps[0].text()
    assert f"100) -> {grown:#x}" in steps[2].text()
    heap.dealloc(grown)
    assert len(steps) == 3 and not heap.process.access_observers


def test_a_request_that_fails_is_a_step():
    heap = start("kr", frames=16)
    with heap.watch() as steps:
        assert heap.alloc(1 << 30) == 0
    assert "-> 0: no memory" in steps[0].text()


def test_a_fault_ends_the_watch():
    heap, _ = holed("kr")
    with pytest.raises(Exception, match="double free"), heap.watch():
        heap.dealloc(next(iter(heap.blocks.freed)))
    assert not heap.process.access_observers


def test_steps_of_a_program_name_its_values():
    heap = start("kr")
    with serve(heap) as runtime:
        box = Box(1)
        with heap.watch() as steps:
            drop(box)
        drop(Box(2))
    assert len(steps) == 1 and runtime.watchers == []
    assert "Box<i32>, test_picture.py:" in steps[0].text()


def test_watches_may_be_nested():
    heap = start("linked_list")
    with heap.watch() as outer:
        heap.alloc(16)
        with heap.watch() as inner:
            heap.alloc(16)
        heap.alloc(16)
    assert (len(outer), len(inner)) == (2, 1)


def test_a_broken_heap_is_drawn():
    heap, second = holed("kr")
    heap.process.poke(second - 16, (999).to_bytes(8, "little"))
    assert "0x4000  free" in str(heap.draw())


def test_any_heap_of_the_machine_can_be_drawn():
    heap = MachineHeap.start(start("kr").allocator)
    heap.alloc(24)
    assert "#1 24 bytes" in str(draw(heap))


def test_save(tmp_path):
    picture = holed("kr")[0].draw()
    picture.save(tmp_path / "heap.svg")
    picture.save(str(tmp_path / "heap.txt"))
    assert (tmp_path / "heap.svg").read_text().startswith("<svg ")
    assert (tmp_path / "heap.txt").read_text() == f"{picture}\n"
    assert picture.svg() in picture._repr_html_()


def test_a_notebook_shows_the_heap_itself():
    heap, _ = holed("kr")
    assert heap._repr_html_() == heap.draw()._repr_html_()
