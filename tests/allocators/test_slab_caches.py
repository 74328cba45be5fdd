"""A program's own caches: objects that are constructed once and stay so while they are free, and the end of a cache."""

from collections import Counter

import pytest
from heaps import on
from slabs import DESIGN, SLAB_MODULE, Objects, alloc_and_free, is_as_constructed, slabs_of, thread_of

from heapwright import locks
from heapwright.allocators.slab import caches, magazines
from heapwright.allocators.slab.caches import SLAB
from heapwright.machine import Fault, start

KIB, MIB = 1 << 10, 1 << 20
SIZE = 96


@pytest.fixture
def kind(heap):
    return Objects(heap, SIZE)


# --- constructors


def test_an_object_is_constructed_once_and_stays_as_its_user_left_it(heap, kind):
    first = [kind.alloc() for _ in range(100)]
    assert kind.constructed() == first and all(is_as_constructed(kind, each) for each in first)
    heap.user.store(first[5], 8, 7)
    for each in first:
        kind.free(each)
    heap.check()
    second = [kind.alloc() for _ in range(100)]
    assert sorted(first) == sorted(second) and len(kind.log) == 100
    assert heap.user.load(first[5], 8) == 7
    heap.check()


def test_constructed_objects_are_preferred_wherever_they_lie(kind):
    """Also to those of a slab from which new objects are being cut."""
    objects = [kind.alloc() for _ in range(2 * kind.cache.objects - 10)]
    old = [each for each in objects if caches.slab_of(kind.cache, each) == caches.slab_of(kind.cache, objects[0])]
    kind.free(old[3])
    kind.free(objects[-1])
    kind.heap.thread_exit()
    assert {kind.alloc(), kind.alloc()} == {old[3], objects[-1]} and len(kind.log) == len(objects)


def test_a_constructor_gets_the_size_that_the_program_gave(heap):
    sizes = []
    function = heap.process.function(lambda memory, address, size: sizes.append(size))
    address = SLAB_MODULE.cache_create(heap.state, 0, 100, 64, function, 0)
    assert SLAB_MODULE.cache_alloc(heap.state, address) % 64 == 0 and sizes == [100]


def test_a_constructor_that_fails_leaves_its_object_raw(heap):
    fails = [0, 1, 1]

    class Failing(Objects):
        def construct(self, memory, address, size):
            super().construct(memory, address, size)
            return fails.pop(0) if fails else None

    kind = Failing(heap, SIZE)
    heap.dealloc(heap.alloc(MIB))  # memory that a reap would release is no reason to try again
    objects = [kind.alloc() for _ in range(4)]
    assert objects[1] == objects[2] == 0 and objects[3] != 0
    assert len(kind.log) == 4 and len(set(kind.constructed())) == 2 and kind.cache.constructed == 2
    heap.check()
    third = kind.alloc()
    for each in (objects[0], objects[3], third):
        kind.free(each)
    heap.check()
    assert kind.destroy() == 0
    assert sorted(kind.destructed()) == sorted((objects[0], objects[3], third))


def test_the_last_raw_object_of_a_slab_that_goes_is_not_destructed(heap):
    fails = [0] * 19 + [1]

    class Failing(Objects):
        def construct(self, memory, address, size):
            super().construct(memory, address, size)
            return fails.pop(0)

    kind = Failing(heap, SIZE)
    objects = [kind.alloc() for _ in range(20)]
    assert objects.pop() == 0
    for each in objects:
        kind.free(each)
    heap.check()
    kind.reap()
    heap.check()
    assert sorted(kind.destructed()) == sorted(objects)


def test_a_constructor_may_use_the_heap_and_other_caches(heap):
    """The thread holds no lock of the heap meanwhile."""
    parts = Objects(heap, 48)

    class Composed(Objects):
        def construct(self, memory, address, size):
            assert_no_lock(heap)
            super().construct(memory, address, size)
            memory.store(address, 8, heap.alloc(1000))
            memory.store(address + 8, 8, parts.alloc())

        def destruct(self, memory, address, size):
            assert_no_lock(heap)
            super().destruct(memory, address, size)
            heap.dealloc(memory.load(address, 8))
            parts.free(memory.load(address + 8, 8))

    kind = Composed(heap, SIZE)
    alloc_and_free(kind, 200)
    heap.check()
    assert len(heap.live) == 400
    kind.reap()
    assert not heap.live and len(kind.destructed()) == 200
    assert kind.destroy() == 0 and parts.destroy() == 0
    heap.check()


def assert_no_lock(heap):
    state = heap.state
    words = [state.lock, state.large.lock, state.naps.lock, *(state.caches[n].lock for n in range(caches.CACHES))]
    assert all(word.load() == locks.FREE for word in words)


def test_the_object_is_the_programs_only_during_the_call(heap, kind):
    address = kind.alloc()
    kind.free(address)
    with pytest.raises(Fault, match="user load"):
        heap.user.load(address, 8)


def test_the_allocator_calls_no_function_that_the_program_lacks(heap):
    cache = SLAB_MODULE.cache_create(heap.state, 0, SIZE, 16, 0x30, 0)
    with pytest.raises(Fault, match="calls 0x30, where the program has no function"):
        SLAB_MODULE.cache_alloc(heap.state, cache)


# --- destructors


@pytest.mark.parametrize("release", ["reap", "trim", "destroy"])
def test_each_object_is_destructed_once_when_its_slab_goes(heap, kind, release):
    objects = alloc_and_free(kind, 1000)
    assert not kind.destructed()
    kind.reap() if release == "reap" else heap.trim() if release == "trim" else kind.destroy()
    assert Counter(kind.destructed()) == Counter(kind.constructed()) == Counter(objects)
    heap.check()


def test_a_slab_that_is_made_anew_is_constructed_anew(heap, kind):
    address = kind.alloc()
    heap.user.store(address, 8, 7)
    kind.free(address)
    heap.trim()
    assert kind.cache.destroyed == kind.cache.constructed == 1 and not slabs_of(kind.cache)
    assert is_as_constructed(kind, kind.alloc())
    heap.check()


def test_an_object_in_use_keeps_the_others_of_its_slab(heap, kind):
    objects = [kind.alloc() for _ in range(40)]
    for each in objects[1:]:
        kind.free(each)
    heap.trim()
    assert not kind.destructed() and is_as_constructed(kind, objects[7])


def test_what_nobody_needed_for_an_interval_is_destructed(heap):
    kind = Objects(heap, 8192)
    many, few = 150, 20
    for count in [many] + 60 * [few]:
        alloc_and_free(kind, count)
    assert 0 < len(kind.destructed()) < many
    heap.check()


def test_malloc_destructs_before_it_fails():
    heap = start(DESIGN, frames=1000)
    kind = Objects(heap, 8000)
    objects = []
    while address := kind.alloc():
        objects.append(address)
    for each in objects:
        kind.free(each)
    assert not kind.destructed()
    assert heap.alloc(MIB) and len(kind.destructed()) == len(objects)
    heap.check()


def test_a_destructor_may_cause_a_reap(heap):
    """The reap finds the gate closed and leaves the slabs to the first one."""

    class Noisy(Objects):
        def destruct(self, memory, address, size):
            super().destruct(memory, address, size)
            self.reap()
            heap.trim()

    kind = Noisy(heap, 8000)
    objects = alloc_and_free(kind, 50)
    kind.reap()
    assert sorted(kind.destructed()) == sorted(objects)
    heap.check()


# --- the end of a cache


def test_a_cache_with_objects_in_use_is_not_destroyed(heap, kind):
    objects = [kind.alloc() for _ in range(30)]
    for each in objects[2:]:
        kind.free(each)
    assert kind.destroy() == 2
    assert is_as_constructed(kind, kind.alloc())
    heap.check()


def test_the_end_takes_what_other_threads_keep(heap, kind):
    other = heap.process.new_thread()
    with on(heap, other):
        alloc_and_free(kind, 300)
        assert thread_of(heap).loaded[kind.cache.number].rounds > 0
    assert kind.destroy() == 0 and len(kind.destructed()) == 300
    with on(heap, other):
        assert thread_of(heap).loaded[kind.cache.number] == heap.state.nothing
        assert thread_of(heap).uses[kind.cache.number] == 0
    heap.check()


@pytest.mark.parametrize("call", ["alloc", "free", "reap", "destroy"])
def test_the_use_of_a_destroyed_cache_is_reported(heap, kind, call):
    block = heap.alloc(SIZE)
    for size in (16, SIZE):  # threads hold objects of malloc's caches
        for each in [heap.alloc(size) for _ in range(100)]:
            heap.dealloc(each)
    kind.destroy()
    with pytest.raises(Fault, match="not a live cache"):
        getattr(kind, call)(*([block] if call == "free" else []))


def test_a_place_serves_one_cache_after_another(heap):
    for number in range(40):
        kind = Objects(heap, 16 + number)
        assert is_as_constructed(kind, kind.alloc())
        assert kind.destroy() == 1
        kind.free(kind.constructed()[0])
        assert kind.destroy() == 0
    heap.check()


def test_room_for_sixteen_caches_and_no_absurd_ones(heap):
    def create(size, align):
        return SLAB_MODULE.cache_create(heap.state, 0, size, align, 0, 0)

    assert not create(0, 16) and not create(-1, 16)
    assert not create(1 << 40, 16) and not create(16, 1 << 40) and not create(16, -1 << 63)
    made = [create(100, 16) for _ in range(17)]
    assert all(made[:16]) and not made[16]
    SLAB_MODULE.cache_destroy(heap.state, made[7])
    assert create(100, 16) == made[7]


# --- shapes, names


@pytest.mark.parametrize(("size", "slab_size"), [(100, 1), (8192, 1), (24 * KIB, 2), (40 * KIB, 2), (MIB, 128)])
def test_objects_that_fit_badly_get_larger_slabs(heap, size, slab_size):
    kind = Objects(heap, size, 64, constructs=False, destructs=False)
    assert kind.cache.slab_size == slab_size * SLAB
    objects = [kind.alloc() for _ in range(20)]
    assert len(set(objects)) == 20 and not any(address % 64 for address in objects)
    for each in objects:
        kind.free(each)
    heap.check()
    assert heap.trim() >= kind.cache.slab_size


def test_objects_of_large_slabs_are_constructed_and_destructed(heap):
    kind = Objects(heap, 40 * KIB)
    objects = alloc_and_free(kind, 20)
    kind.reap()
    assert sorted(objects) == sorted(kind.destructed()) == sorted(kind.constructed())
    heap.check()


@pytest.mark.parametrize(("name", "shown"), [("session", "session"), ("x" * 40, "x" * 31)])
def test_the_lists_have_the_name(heap, name, shown):
    kind = Objects(heap, SIZE, name=name)
    kind.alloc()
    assert f"cache {kind.cache.number} {shown} of {SIZE} bytes, partial slabs" in dict(heap.lists())


def test_free_takes_an_object_as_its_cache_does(heap, kind):
    """A program may hand an object to a function that knows only `free`."""
    address = kind.alloc()
    heap.dealloc_by(lambda state: DESIGN.dealloc(state, address, 0, 16), address)
    assert kind.alloc() == address and kind.constructed() == [address]
    assert heap.usable_size(address) == SIZE


def test_the_first_objects_of_a_thread_bypass_its_magazines(heap, kind):
    alloc_and_free(kind, magazines.WARM // 2)
    assert not thread_of(heap).loaded[kind.cache.number].maximum
