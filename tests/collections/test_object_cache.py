"""Object caches: an object is constructed once, is what its last user left, and is checked as any block."""

import pytest

from heapwright import allocator
from heapwright.collections import (
    Box,
    BytesType,
    Handle,
    NoCaches,
    ObjectCache,
    OutOfMemory,
    Panic,
    String,
    StructType,
    Vec,
    i32,
    serve,
    text,
    u8,
    u64,
)
from heapwright.collections.leaks import find_leaks
from heapwright.machine import Fault, Kind, start
from heapwright.programs.run import new_runtime, run_program

SESSION = StructType("Session", state=text, uses=u64, number=i32)


def session(**other):
    return SESSION(**{"state": "idle", "uses": 0, "number": -7} | other)


@pytest.fixture
def runtime():
    runtime = new_runtime(allocator.load("slab"))
    with serve(runtime):
        yield runtime
    runtime.heap.check()


def test_each_object_is_constructed(runtime):
    cache = ObjectCache(session())
    objects = [cache.alloc() for _ in range(100)]
    assert {repr(each) for each in objects} == {'Session { state: "idle", uses: 0, number: -7 }'}
    objects[3].uses = 1
    assert [each.uses for each in objects[2:5]] == [0, 1, 0]
    for each in objects:
        cache.free(each)
    assert not runtime.heap.leaks() and runtime.live_bytes == 0


def test_what_was_constructed_outlives_a_free(runtime):
    cache = ObjectCache(session())
    first = cache.alloc()
    first.uses = 41
    cache.free(first)
    again = cache.alloc()
    for _ in range(200):
        cache.free(again)
        again = cache.alloc()
    assert (again.uses, again.number, cache.constructed) == (41, -7, 1)
    cache.free(again)


def test_requests_are_those_of_a_box(runtime, requests):
    cache = ObjectCache(session())
    cache.free(cache.alloc())
    assert requests == ["32@8", "free 32@8"]


def test_a_leak_has_its_owner_and_its_line(runtime):
    ObjectCache(session()).alloc()
    [leak] = find_leaks(runtime)
    assert (leak.owner, leak.block.size) == ("ObjectCache<Session>", 32)
    assert leak.block.allocated.text == "ObjectCache(session()).alloc()"


def test_a_freed_object_is_nobodys(runtime):
    cache = ObjectCache(session())
    freed = cache.alloc()
    cache.free(freed)
    with pytest.raises(Fault) as fault:
        _ = freed.uses
    assert fault.value.kind is Kind.FREED
    with pytest.raises(Fault, match="double free"):
        cache.free(freed)


def test_objects_go_back_where_they_are_from(runtime):
    cache, other = ObjectCache(session()), ObjectCache(session(number=1))
    mine, box = cache.alloc(), Box(session())
    for wrong in (other, ObjectCache(session())):
        with pytest.raises(TypeError, match="not an object of this ObjectCache<Session>"):
            wrong.free(mine)
    with pytest.raises(TypeError):
        cache.free(box.value)
    cache.free(mine)


@pytest.mark.parametrize("name", [each for each in (*allocator.ALLOCATORS, "locked(slab)") if each != "slab"])
def test_an_allocator_without_caches(name):
    with serve(start(allocator.load(name))), pytest.raises(NoCaches) as error:
        ObjectCache(session())
    assert str(error.value) == f"{name} has no object caches: take an allocator with cache_create, such as slab"


# --- objects that own memory

NAMED = StructType("Named", label=Handle(String), uses=u64)


def named():
    return NAMED(label=String("a label of its own"), uses=0)


def test_copies_own_nothing(runtime):
    with pytest.raises(TypeError, match="a Named owns memory: pass the struct and a function that makes one"):
        ObjectCache(named())
    with pytest.raises(TypeError, match="pass a value of Named, or a function that makes one as a second argument"):
        ObjectCache(NAMED)


def test_what_an_object_owns_is_made_once_and_dropped_with_the_slab(runtime, requests):
    cache = ObjectCache(NAMED, named)
    for _ in range(50):
        object_ = cache.alloc()
        assert (str(object_.label), object_.uses) == ("a label of its own", 0)
        cache.free(object_)
    labels = [each for each in requests if each.endswith("18@1")]
    assert labels == ["18@1"] and cache.constructed == 1
    cache.reap()
    assert requests[-1] == "free 18@1" and not runtime.heap.leaks()


def test_the_end_of_a_cache_drops_what_its_objects_own(runtime):
    cache = ObjectCache(NAMED, named)
    objects = [cache.alloc() for _ in range(3)]
    for each in objects[1:]:
        cache.free(each)
    with pytest.raises(Panic, match="this ObjectCache<Named> cannot be destroyed: 1 object is in use"):
        cache.destroy()
    cache.free(objects[0])
    cache.destroy()
    assert not runtime.heap.leaks() and runtime.live_bytes == 0


def test_a_cache_that_is_not_destroyed_leaks_what_its_objects_own(runtime):
    cache = ObjectCache(NAMED, named)
    cache.free(cache.alloc())
    assert [leak.owner for leak in find_leaks(runtime)] == ["String"]


def test_no_memory_for_what_an_object_owns(runtime):
    """The object stays raw, and a later request constructs it."""
    large = StructType("Large", bytes=Handle(Vec, u8))
    cache = ObjectCache(large, lambda: large(bytes=Vec.with_capacity(1 << 20, u8)))
    first = cache.alloc()
    runtime.heap.process.kernel.calls.at(1)
    with pytest.raises(OutOfMemory):
        cache.alloc()
    runtime.heap.process.kernel.calls.never()
    runtime.heap.check()
    second = cache.alloc()
    assert cache.constructed == 2
    for each in (first, second):
        cache.free(each)
    cache.destroy()
    assert not runtime.heap.leaks()


def test_a_destroyed_cache_serves_nobody(runtime):
    cache = ObjectCache(session())
    cache.destroy()
    with pytest.raises(Fault, match="not a live cache"):
        cache.alloc()


def test_the_lists_of_the_heap_have_the_struct_s_name(runtime):
    object_ = ObjectCache(session()).alloc()
    assert any(" Session of 32 bytes" in name for name, _ in runtime.heap.lists())
    assert object_.uses == 0


def test_sixteen_caches_and_no_more(runtime):
    caches = [ObjectCache(session(number=number)) for number in range(16)]
    assert [cache.alloc().number for cache in caches] == list(range(16))
    with pytest.raises(Panic, match="no room for another cache of 32 bytes"):
        ObjectCache(session())


def test_no_memory_is_a_panic(runtime):
    large = StructType("Large", data=BytesType(5000))
    cache = ObjectCache(large(data=bytes(5000)))
    runtime.heap.process.kernel.calls.at(1)
    with pytest.raises(OutOfMemory, match="5000 bytes failed"):
        while True:
            cache.alloc()


def test_a_child_has_its_own_objects(runtime):
    cache = ObjectCache(session())
    mine = cache.alloc()
    child = runtime.fork()
    with serve(child):
        theirs = cache.alloc()
        cache.free(theirs)
        assert cache.constructed >= 2 and len(child.heap.leaks()) == 1
    child.heap.check()
    cache.free(mine)
    assert not runtime.heap.leaks()


def test_slabs_that_went_are_constructed_anew(runtime):
    cache = ObjectCache(session())
    spoiled = cache.alloc()
    spoiled.uses = 9
    cache.free(spoiled)
    runtime.heap.trim()
    again = cache.alloc()
    assert again.uses == 0
    cache.free(again)


def test_what_the_program_tells():
    boxes, cache = run_program("cachetest", "slab").output
    assert boxes == "Box: 300 requests, 300 sessions constructed, 76,800 bytes"
    assert cache == "ObjectCache: 300 requests, 1 session constructed, 256 bytes"
    assert run_program("cachetest", "kr").output[1].startswith("kr has no object caches")
    assert run_program("cachetest", "kr", ("cachetest", "x")).exit_code == 1
