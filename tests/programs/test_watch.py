"""What a watch learns of an allocator at work, and what a trace is as a program."""

import pytest

from heapwright import allocator
from heapwright.collections import Box, drop, serve
from heapwright.machine import start
from heapwright.programs.replay import replay
from heapwright.programs.run import run_program
from heapwright.programs.scene import Look
from heapwright.programs.watch import Watch
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, FAILED, NONE, REALLOC, Events


def watched(name, program):
    """The steps of a program, and the last look at its heap."""
    steps, looks = [], []

    def show(runtime, eye, step):
        steps.append(step)
        looks.append(Look(runtime, eye, step))

    with serve(start(allocator.load(name))) as runtime:
        runtime.watch(Watch(show))
        program()
    return steps, looks


def hole():
    x, y = Box(1), Box(2)
    drop(x)
    drop(y)


def test_words_have_their_fields_names_and_values():
    steps, _ = watched("kr", hole)
    first, second, _, _ = steps
    names = {word.name: word for word in first.words.values()}
    assert {"rover", "anchor.next", "anchor.units"} < names.keys()
    top = next(word for word in second.words.values() if word.name.startswith("Block.units at") and word.before)
    assert (top.before - top.after, top.stores, top.is_pointer) == (2, 1, False)
    assert any(other.startswith("sbrk(65,536) -> ") for other in first.others)
    assert not second.others


def test_a_step_knows_who_asked_and_where():
    steps, _ = watched("linked_list", hole)
    assert [(step.operation.name, step.operation.owner) for step in steps] == [
        ("alloc", "Box<i32>"),
        ("alloc", "Box<i32>"),
        ("dealloc", "Box<i32>"),
        ("dealloc", "Box<i32>"),
    ]
    assert [step.place.function for step in steps] == ["hole"] * 4


@pytest.mark.parametrize("name", ["kr", "linked_list"])
def test_links_and_lists_are_the_allocators(name):
    _, looks = watched(name, hole)
    holed = looks[2]
    (arrow,) = holed.arrows()
    free = [start for start, _, kind in holed.spans if kind == 0]
    assert sorted(arrow) == free
    (chain,) = holed.chains()
    assert {f"{start:#x}" for start in free} < set(chain.nodes)
    assert looks[3].arrows() == []


def events(*rows):
    op, block, size, *flags = zip(*rows, strict=True)
    return Events.of(op=op, block=block, size=size, thread=[0] * len(rows), flags=flags[0])


STORY = events(
    (ALLOC, 0, 10, 0),
    (ALLOC_ZEROED, 1, 100, 0),
    (REALLOC, 0, 50, 0),
    (ALLOC, NONE, 1 << 50, FAILED),
    (DEALLOC, 1, 0, 0),
    (DEALLOC, NONE, 0, 0),
    (REALLOC, 2, 5, 0),
)


@pytest.mark.parametrize("name", ["kr", "linked_list"])
def test_a_trace_is_a_program(name):
    outcome = run_program(replay(STORY), name)
    assert (outcome.exit_code, outcome.operations, outcome.live_bytes, outcome.live_blocks) == (0, 5, 55, 2)
    assert outcome.peak_bytes == 150 and not outcome.leaks


def test_a_trace_that_finds_no_memory():
    outcome = run_program(replay(STORY), "kr", sbrk_fails=1)
    assert outcome.output == ["event 1: memory allocation of 10 bytes failed"]
    assert outcome.exit_code == 1
