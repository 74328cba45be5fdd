"""What each allocator says of its memory as a whole: the sums agree with the kernel's account and with a walk."""

import random

import pytest
from heaps import bytes_by_kind, fresh, on

from heapwright import allocator
from heapwright.allocators import ALLOCATORS
from heapwright.conformance.story import Play, Step
from heapwright.machine import start
from heapwright.spans import FREE, UNUSED
from heapwright.stats import LISTS, Part

KIB, MIB = 1 << 10, 1 << 20
MAPPED = {"ptmalloc", "dlmalloc", "hoard", "slab", "segregated_storage", "pages", "pages_split", "wright"}


@pytest.fixture(params=ALLOCATORS)
def heap(request):
    return fresh(request.param, frames=1 << 14)


def a_day(heap, seed):
    play, rng = Play(heap), random.Random(seed)
    for _ in range(150):
        kind = rng.choice(("alloc", "alloc", "zeroed", "free", "realloc"))
        play.take(Step(kind, rng.randrange(1000), rng.choice((30, 500, 2000, 20_000, 300_000)) - rng.randrange(16)))
    return play


def sums_agree(heap):
    numbers, kinds = heap.survey(), bytes_by_kind(heap)
    assert numbers["heap_bytes"] == heap.memory.held()
    assert numbers["arena_bytes"] + numbers["mapped_bytes"] == numbers["heap_bytes"]
    assert numbers["live_bytes"] == numbers["heap_bytes"] - numbers["free_bytes"]
    assert kinds[FREE] <= numbers["free_bytes"] <= kinds[FREE] + kinds[UNUSED] + depot(heap) + 8  # the top's first word
    assert numbers["largest_free"] <= numbers["free_bytes"] >= numbers["free_blocks"]
    assert numbers["spare_bytes"] <= numbers["heap_bytes"]
    return numbers


def depot(heap):
    """Bytes of objects in slab's depots, which a walk calls cached."""
    caches = heap.state.caches if heap.allocator.spec == "slab" else ()
    return sum(cache.full.count * cache.rounds * cache.object_size for cache in caches)


@pytest.mark.parametrize("seed", range(2))
def test_the_sums_agree(heap, seed):
    play = a_day(heap, seed)
    numbers = sums_agree(heap)
    assert numbers["live_bytes"] >= sum(block.size for block in play.blocks)
    play.end()
    sums_agree(heap)
    heap.trim()
    sums_agree(heap)


@pytest.mark.parametrize("name", ["linked_list", "segregated_fits", "tlsf", "dlmalloc", "ptmalloc"])
def test_what_trim_can_spare_is_the_free_end(name):
    heap = fresh(name)
    blocks = [heap.alloc(5000) for _ in range(20)]
    for block in blocks[:5] + blocks[10:]:
        heap.dealloc(block)
    spare, held = heap.survey()["spare_bytes"], heap.memory.held()
    heap.trim()
    assert spare - 3 * 4096 < held - heap.memory.held() <= spare < held


def test_ten_blocks_of_a_megabyte(heap):
    """Each is either cut from an arena or has a mapping: never both."""
    heap.dealloc(heap.alloc(24))
    before = sums_agree(heap)
    blocks = [heap.alloc(10**6) for _ in range(10)]
    during = sums_agree(heap)
    mapped = during["mapped_blocks"] - before["mapped_blocks"]
    assert mapped == (10 if heap.allocator.spec in MAPPED else 0)
    assert during["mapped_bytes"] - before["mapped_bytes"] >= mapped * 10**6
    used = [each["arena_bytes"] - each["free_bytes"] for each in (before, during)]
    assert used[1] - used[0] < 100_000 if mapped else used[1] - used[0] >= 10**7
    for block in blocks:
        heap.dealloc(block)
    after = sums_agree(heap)
    assert after["mapped_blocks"] == before["mapped_blocks"] and after["mapped_bytes"] == before["mapped_bytes"]
    assert after["live_bytes"] <= before["live_bytes"] + 4096


def test_a_mapped_block_is_counted_by_its_size_now(heap):
    block = heap.alloc(300_000)
    block = heap.realloc(block, 900_000)
    numbers = sums_agree(heap)
    assert numbers["mapped_bytes"] == 0 or 900_000 <= numbers["mapped_bytes"] < 1 << 20
    heap.realloc(block, 400_000)
    numbers = sums_agree(heap)
    assert numbers["mapped_bytes"] == 0 or 400_000 <= numbers["mapped_bytes"] < 1 << 20


def test_a_walk_does_for_an_allocator_that_counts_nothing(tmp_path):
    source = allocator.load("kr").parts[-1].__file__
    text = open(source).read()  # noqa: SIM115
    path = tmp_path / "mine.py"
    path.write_text(text.replace("def survey(heap, account):", "def not_asked(heap, account):"))
    heap = start(allocator.load(str(path)))
    blocks = [heap.alloc(size) for size in (100, 5000, 300)]
    heap.dealloc(blocks[1])
    numbers = sums_agree(heap)
    assert numbers["live_blocks"] == 2
    assert heap.survey() | {"live_blocks": None} == {**fresh_kr_after_the_same().survey()}


def fresh_kr_after_the_same():
    heap = fresh("kr")
    blocks = [heap.alloc(size) for size in (100, 5000, 300)]
    heap.dealloc(blocks[1])
    return heap


# --- the parts of ptmalloc


def parts_of(heap):
    place = heap.process.reserve(Part.SIZE)
    part, found, before = Part(heap.memory, place), [], 0
    while before := heap.allocator.survey_part(heap.state, before, part):
        lists = [(each.minimum, each.maximum, each.total, each.blocks) for each in part.lists if each.blocks]
        found.append((part.free_bytes, part.free_blocks, part.held_bytes, part.peak_bytes, part.segments, lists))
    return found


def test_each_arena_is_a_part():
    heap = fresh("ptmalloc", frames=1 << 16, more_data=Part.SIZE)
    blocks = [heap.alloc(2000) for _ in range(10)]
    for block in blocks[::2]:
        heap.dealloc(block)
    with on(heap, heap.process.new_thread()):
        heap.alloc(2000)
    main, other = parts_of(heap)
    assert main[4:] == (0, [(2016, 2016, 5 * 2016, 5)]) and other[4:] == (1, [])
    numbers = heap.survey()
    for index, name in enumerate(("free_bytes", "free_blocks", "arena_bytes")):
        assert main[index] + other[index] == numbers[name]
    assert main[2] <= main[3] and other[2] <= other[3]


def test_the_most_that_an_arena_had_is_remembered():
    heap = fresh("ptmalloc", more_data=Part.SIZE)
    blocks = [heap.alloc(100 * KIB) for _ in range(10)]
    for block in blocks:
        heap.dealloc(block)
    [(_, _, held, peak, _, _)] = parts_of(heap)
    assert held < MIB < peak


def test_a_heap_that_is_not_open_has_one_empty_arena():
    assert parts_of(fresh("ptmalloc", more_data=Part.SIZE)) == [(0, 1, 0, 0, 0, [])]
    assert LISTS == 127


@pytest.mark.parametrize("stack", ["locked(ptmalloc)", "counted(ptmalloc)", "counted(locked(ptmalloc))"])
def test_layers_hand_the_parts_on(stack):
    heap = fresh(stack, more_data=Part.SIZE)
    heap.alloc(100)
    assert len(parts_of(heap)) == 1
    assert not hasattr(allocator.load("counted(locked(kr))").module, "survey_part")
