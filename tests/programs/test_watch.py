"""What a watch learns of an allocator at work, and what a trace is as a program."""

import random

import pytest

from heapwright import allocator
from heapwright.allocators import ALLOCATORS
from heapwright.collections import Box, Vec, drop, serve
from heapwright.machine import start
from heapwright.programs.replay import replay
from heapwright.programs.run import run_program
from heapwright.programs.scene import look_at
from heapwright.programs.watch import Watch
from heapwright.spans import CACHED, FREE, OWN, USED
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, FAILED, NONE, REALLOC, Events


def watched(name, program):
    """The steps of a program, and the last look at its heap."""
    steps, looks = [], []

    def show(runtime, observer, step):
        steps.append(step)
        looks.append(look_at(runtime, observer, step))

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
    (chain,) = holed.lists
    assert {f"{start:#x}" for start in free} < set(chain.nodes)
    assert looks[3].arrows() == []


# --- the lists of every design

# pages gives pages back at once, pages_split has bitmaps, and an empty superblock of hoard forgets its objects
WITHOUT_LISTS_OF_BLOCKS = {"pages", "pages_split", "hoard"}
LISTS = {
    "slab": {"partial slabs", "loaded magazine", "full magazine in the depot"},
    "pages_split": {"runs with room", "spare run"},
    "segregated_fits": {"list 8", "list 50"},
    "tlsf": {"list 0,", "list 1,"},
    "dlmalloc": {"small bin", "tree bin", "victim", "top"},
    "ptmalloc": {"cache bin", "small bin", "large bin", "unsorted bin", "main arena, top"},
    "hoard": {"0/4 full", "objects of superblock", "buffer of 320 bytes", "large objects kept"},
}


def holes():
    kept = [(Box(i), Vec.of([i] * 30)) for i in range(4)]
    for box, vec in kept[::2]:
        drop(box)
        drop(vec)
    Vec.of([1] * 1000)


def addresses_in(looked):
    """The blocks that are drawn in lists; the allocator's own words have names instead."""
    return {int(node, 16) for chain in looked.lists for node in chain.nodes if node.startswith("0x")}


@pytest.mark.parametrize("name", ALLOCATORS)
def test_what_is_drawn_in_a_list_is_not_in_use(name):
    steps, looks = watched(name, holes)
    freed = 0
    for step, look in zip(steps, looks, strict=True):
        in_use = {start for start, _, kind in look.spans if kind == USED}
        assert not addresses_in(look) & in_use
        if step.operation.name == "dealloc" and name not in WITHOUT_LISTS_OF_BLOCKS:
            freed += 1
            assert look.start_of_span(step.operation.arguments[0]) in addresses_in(look)
    assert freed >= 8 or name in WITHOUT_LISTS_OF_BLOCKS


def heap_with_a_past(name):
    heap, rng = start(allocator.load(name)), random.Random(3)
    for _ in range(600):
        if heap.live and rng.random() < 0.45:
            heap.dealloc(rng.choice(list(heap.live)))
        else:
            heap.alloc(rng.choice([rng.randrange(300), 900, 3000, 20_000, 100_000]))
    large, _ = heap.alloc(5000), heap.alloc(16)
    heap.dealloc(large)
    return heap


@pytest.mark.parametrize("name", sorted(LISTS))
def test_lists_have_their_names(name):
    told = " ".join(each for each, _ in heap_with_a_past(name).lists())
    assert {each for each in LISTS[name] if each not in told} == set()


@pytest.mark.parametrize("name", sorted(LISTS.keys() - WITHOUT_LISTS_OF_BLOCKS))
def test_a_block_that_is_free_is_in_one_list(name):
    heap = heap_with_a_past(name)
    spans = list(heap.spans())
    listed = [span_of(address, spans) for _, addresses in heap.lists() for address in addresses]
    free = [span for span in spans if span[2] in {FREE, CACHED}]
    assert sorted(span for span in listed if span[2] != OWN) == free


def span_of(address, spans):
    (found,) = (span for span in spans if span[0] <= address < span[0] + span[1])
    return found


# --- traces


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
