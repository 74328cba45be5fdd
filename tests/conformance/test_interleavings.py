"""Threads on one heap in every order, for each allocator that says that it can; and mutants that must be caught."""

from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.allocator import load
from heapwright.allocators import ALLOCATORS
from heapwright.allocators.hoard import heaps as hoard_heaps
from heapwright.allocators.hoard import superblocks
from heapwright.allocators.hoard import threads as hoard_threads
from heapwright.allocators.ptmalloc import chunks as ptmalloc_chunks
from heapwright.allocators.ptmalloc.chunks import PREVIOUS_IN_USE
from heapwright.conformance import CHECKS, Broken, Subject
from heapwright.conformance.interleavings import declared_races, make_threads, try_scenario, wander_through
from heapwright.conformance.scenarios import MACHINE, PAIRS
from heapwright.conformance.subject import ROOMY
from heapwright.locks import acquire, release
from heapwright.machine import Fault
from heapwright.machine.explore import explore, sleepy_locks
from heapwright.machine.races import Race
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.threads import Threads

pytestmark = pytest.mark.long

PACKAGE = Path(allocator.__file__).parent
STACKS = [  # with a size that its caches do not take, and one that they do; and how many schedules are quick
    ("locked(kr)", (40,), MACHINE, 100),
    ("locked(linked_list)", (40,), MACHINE, 100),
    ("ptmalloc", (2000, 40, 200_000), ROOMY, 40),
    ("hoard", (8192, 20_000), MACHINE, 40),
    ("slab", (40, 6000), MACHINE, 8),
    ("wright", (40, 20_000, 100_000), ROOMY, 20),
]


def cases(names, sizes):
    return list(each_case(names, sizes))


def each_case(names, sizes):
    for spec, both, machine, quick in STACKS:
        if spec.rstrip(")").rsplit("(", maxsplit=1)[-1] in ALLOCATORS:
            for name in names:
                for size in sizes(both):
                    yield pytest.param(spec, name, size, machine, quick, id=f"{spec}-{name}-{size}")


# --- the allocators


@pytest.mark.parametrize(("spec", "name", "size", "machine", "quick"), cases(PAIRS, lambda sizes: sizes[:1]))
def test_the_first_schedules_with_one_preemption(spec, name, size, machine, quick):
    try_scenario(load(spec), name, size, 1, machine, maximum=quick).demand()


@pytest.mark.parametrize(("spec", "name", "size", "machine", "quick"), cases(["crowd"], lambda sizes: sizes[:1]))
def test_random_schedules_of_three_threads(spec, name, size, machine, quick):
    wander_through(load(spec), name, size, quick // 4, seed=1, machine=machine).demand()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("spec", "name", "size", "machine", "quick"), cases(PAIRS, lambda sizes: sizes))
def test_schedules_with_two_preemptions(spec, name, size, machine, quick):
    """All of them, but for the ones that take too long."""
    try_scenario(load(spec), name, size, 2, machine, maximum=5 * quick).demand()


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "name", "size", "machine", "quick"), cases(["crowd"], lambda sizes: sizes))
def test_more_random_schedules_of_three_threads(spec, name, size, machine, quick):
    wander_through(load(spec), name, size, 2 * quick, seed=2, machine=machine).demand()


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_every_access_under_the_lock(name):
    """What the rule of visible operations leaves out, tried all the same."""
    assert try_scenario(load("locked(kr)"), name, 40, 2, is_fine=True).demand().preemptions == 2


@pytest.mark.parametrize("is_mutant", [False, True])
def test_the_counts_of_classes_are_exact(is_mutant, tmp_path):
    plain = ("live_blocks.add(1)", "live_blocks.store(tally.live_blocks.load() + 1)")
    layer = mutant(tmp_path, "layers/counted.py", plain) if is_mutant else "counted"
    with sleepy_locks():
        found = explore(lambda: growing_and_counted(load(f"{layer}(locked(kr))")), 1)
    if is_mutant:
        assert type(found.failure.error) is AssertionError and found.schedules <= 40
    else:
        assert found.demand().preemptions == 1


def growing_and_counted(stack):
    threads = make_threads(stack, "growing", 40)
    small, large = {"size": 64, "live_blocks": 2, "live_bytes": 96}, {"size": 128, "live_blocks": 1, "live_bytes": 80}
    threads.endings.append(lambda: assert_classes(threads.heap, [small | {"requests": 6}, large | {"requests": 1}]))
    return threads


def assert_classes(heap, expected):
    assert heap.survey()["classes"] == expected


def test_declared_races_are_fields_and_reasons():
    races = declared_races(load("hoard"))
    assert set(races) == {"Superblock.bump", "Superblock.free", "Superblock.used"}
    assert "lies below it" in races["Superblock.bump"]


# --- mutants


EARLY = (
    "    inner.dealloc(heap.heap, address, size, align)\n    release(heap.memory, heap.lock)",
    "    release(heap.memory, heap.lock)\n    inner.dealloc(heap.heap, address, size, align)",
)


def mutant(tmp_path, source, *changes):
    """A file of the package with changes, loadable by its path."""
    text = (PACKAGE / source).read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{text.count(old)} times in {source}: {old}"
        text = text.replace(old, new)
    path = tmp_path / Path(source).name
    path.write_text(text)
    return str(path)


def failure(spec, name, size=40, machine=MACHINE, preemptions=2):
    return try_scenario(load(spec), name, size, preemptions, machine).failure


def test_an_allocator_without_a_lock():
    found = failure("kr", "apart")
    assert isinstance(found.error, Race) and found.found_in == 1


def test_a_lock_released_too_early(tmp_path):
    path = mutant(tmp_path, "layers/locked.py", EARLY)
    found = failure(f"{path}(kr)", "neighbours")
    assert isinstance(found.error, Race) and found.found_in <= 5
    assert "kr.py" in str(found.interleaving)


def test_the_check_of_the_suite_shows_the_interleaving(tmp_path):
    path = mutant(tmp_path, "layers/locked.py", EARLY)
    with pytest.raises(Broken) as caught:
        CHECKS["interleavings"](Subject(f"{path}(kr)", is_quick=False))
    assert caught.value.what.split(",")[0] in PAIRS
    assert any("kr.py" in line for line in caught.value.lines)


def test_the_check_of_the_suite_puts_a_lock_around_what_has_none():
    assert "schedules of two threads" in CHECKS["interleavings"](Subject("kr"))


def test_a_call_without_the_lock(tmp_path):
    bare = ("    acquire(heap.memory, heap.lock)\n    moved = inner", "    moved = inner")
    path = mutant(tmp_path, "layers/locked.py", bare)
    assert failure(f"{path}(kr)", "growing").found_in <= 5


def test_a_lock_that_a_child_inherits(tmp_path):
    path = mutant(tmp_path, "layers/locked.py", ("    heap.lock.store(FREE)\n", ""))
    found = failure(f"{path}(kr)", "fork_beside")
    assert isinstance(found.error, Fault) and "waiting while" in str(found.error) and found.found_in <= 5


def test_a_fork_in_the_middle_of_a_call(tmp_path):
    prepare = ("    acquire(heap.memory, heap.lock)\n    inner.fork_prepare", "    inner.fork_prepare")
    parent = ("parent(heap.heap)\n    release(heap.memory, heap.lock)\n", "parent(heap.heap)\n")
    path = mutant(tmp_path, "layers/locked.py", prepare, parent)
    found = failure(f"{path}(linked_list)", "fork_beside", preemptions=1)
    assert "I1  along the list addresses rise" in str(found.error) and found.found_in <= 20


def test_a_buffer_that_another_thread_fills(tmp_path):
    """Hoard's free among what the youngest thread keeps, whoever frees."""
    path = mutant(
        tmp_path,
        "allocators/hoard/__init__.py",
        ("    thread, size_class = threads.this_thread(heap), superblock",
         "    thread, size_class = heap.roster.youngest, superblock"),
    )  # fmt: skip
    found = failure(path, "neighbours", 8192)
    assert isinstance(found.error, Race) and found.found_in <= 3
    assert found.error.where.startswith(("Buffer.", "Object.", "Thread."))


def test_a_flag_written_with_its_neighbour(monkeypatch):
    """ptmalloc's P, written as the whole word, in which another thread may just say K: a lost update."""

    def say_previous_free(chunk):
        chunk.head &= ~PREVIOUS_IN_USE

    monkeypatch.setattr(ptmalloc_chunks, "say_previous_free", say_previous_free)
    found = failure("ptmalloc", "uneven", 2000, ROOMY)
    assert "U9 the used span of 48 bytes" in str(found.error) and found.found_in <= 20  # it is cached, and says not so


def test_remote_frees_under_the_lock_of_the_own_heap(monkeypatch):
    """Two threads that free what the other allocated then wait for each other."""
    genuine = hoard_heaps.free_chain

    def free_chain(heap, chain):
        home = hoard_threads.this_thread(heap).home
        acquire(heap.memory, home.lock)
        genuine(heap, chain)
        release(heap.memory, home.lock)

    monkeypatch.setattr(hoard_heaps, "free_chain", free_chain)
    found = failure("hoard", "crossing", 8192, ROOMY, preemptions=1)
    assert str(found.error).startswith("deadlock") and found.found_in <= 20


@pytest.mark.parametrize("is_mutant", [False, True])
def test_a_superblock_that_changes_hands_under_a_free(monkeypatch, is_mutant):
    """Hoard's free locks the owner it read, and must look again: the superblock may have gone to the global heap."""

    def free_one(heap, freed):
        owner = superblocks.superblock_of(heap, freed.address).owner.load()
        acquire(heap.memory, owner.lock)
        hoard_heaps.put_back(heap, owner, freed)
        hoard_heaps.settle(heap, owner)
        release(heap.memory, owner.lock)

    monkeypatch.setattr(hoard_heaps, "SLACK", 0)  # so that three quarters full is too empty
    if is_mutant:
        monkeypatch.setattr(hoard_heaps, "free_one", free_one)
    with sleepy_locks():
        found = explore(share_a_superblock, 1)
    if is_mutant:
        assert str(found.failure.error).startswith("broken invariant: H1") and found.schedules <= 10
    else:
        assert found.demand().preemptions == 1


def share_a_superblock():
    heap = SharedHeap.start(load("hoard"))
    threads = Threads(heap)
    threads.benign = declared_races(heap.allocator)
    blocks = [heap.alloc(20_000) for _ in range(3)]
    threads.main(lambda: heap.dealloc(blocks[0]))
    threads.spawn(lambda: heap.dealloc(blocks[1]))
    return threads
