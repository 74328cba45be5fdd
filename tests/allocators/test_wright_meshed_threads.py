"""Wright's meshing beside other threads: they are stopped while pages move, so none of their writes is lost."""

import pytest
from heaps import fresh, on
from wrights import Told, elsewhere, home_of, merged, scattered, slab_of

from heapwright import allocator
from heapwright.allocators.wright import meshes, records
from heapwright.conformance.interleavings import declared_races
from heapwright.locks import FREE
from heapwright.machine import Fault, Kind
from heapwright.machine.explore import explore, sleepy_locks
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.sharing import SharedFrames
from heapwright.machine.threads import Threads

DESIGN = allocator.load("wright[MESHED=1]")
SIZE = 1024
IN_PAGE, IN_SLAB = meshes.PAGE // SIZE, records.TILE // SIZE
MILLISECOND = 1_000_000  # nanoseconds


def two_survivors(heap):
    """Two blocks that stay in a slab, so that a trim lets their pages share a frame."""
    blocks = sorted(heap.alloc(SIZE) for _ in range(3 * IN_SLAB))
    first = next(block for block in blocks if block % records.TILE == 0)
    kept = [first, first + meshes.PAGE + SIZE]
    for block in blocks:
        if block not in kept:
            heap.dealloc(block)
    return kept


# --- in every order


def writer_beside_a_trim(rounds=2):
    """Threads of which one trims the heap, while the other writes to its blocks and reads what it wrote."""
    heap = SharedHeap.start(DESIGN)
    kept = two_survivors(heap)

    def write():
        for word in range(1, rounds + 1):
            for block in kept:
                heap.user.store(block, 8, word)
                assert heap.user.load(block, 8) == word, "a write was lost at once"

    def compare():
        assert merged(heap) == 1
        for block in kept:
            assert heap.user.load(block, 8) == rounds, "a write was lost"

    threads = Threads(heap)
    threads.benign = declared_races(DESIGN)
    threads.main(heap.trim)
    threads.spawn(write)
    threads.endings.append(compare)
    threads.hot = {block >> 3 for block in kept}
    return threads


def explored(make, preemptions=1, **options):
    with sleepy_locks():
        hot = set(make().hot)
        return explore(make, preemptions, hot=hot, **options)


@pytest.mark.long
def test_no_write_is_lost_wherever_a_thread_is_stopped():
    found = explored(writer_beside_a_trim)
    found.demand()
    assert found.preemptions == 1


@pytest.mark.slow
def test_no_write_is_lost_with_two_preemptions():
    found = explored(lambda: writer_beside_a_trim(1), 2)
    found.demand()
    assert found.preemptions == 2


@pytest.mark.long
def test_without_a_stop_a_write_is_lost(monkeypatch):
    monkeypatch.setattr(SharedFrames, "stop_others", lambda self: 0)
    failure = explored(writer_beside_a_trim).failure
    assert failure is not None and "a write was lost" in str(failure.error)


def busy_beside_a_trim():
    """Threads of which one trims, while the other allocates and frees blocks of the slabs whose pages move."""
    heap = SharedHeap.start(DESIGN)
    kept = two_survivors(heap)
    told = Told(heap, kept)

    def work():
        heap.dealloc(kept[0])
        del told.contents[kept[0]]
        told.write(heap.alloc(SIZE))
        heap.thread_exit()

    threads = Threads(heap)
    threads.benign = declared_races(DESIGN)
    threads.main(heap.trim)
    threads.spawn(work)
    threads.endings.append(told.compare)
    return threads


@pytest.mark.long
def test_a_thread_may_be_stopped_inside_the_allocator():
    with sleepy_locks():
        explore(busy_beside_a_trim, 1, maximum=400).demand()


# --- a process with threads


@pytest.mark.long
def test_a_process_with_threads_is_meshed(heap):
    told = scattered(heap)
    with elsewhere(heap):
        others = scattered(heap, seed=2)
    heap.trim()
    assert merged(heap) > 0
    heap.check()
    told.compare()
    others.compare()


def test_pages_of_another_threads_home_are_meshed(heap):
    with elsewhere(heap):
        told = scattered(heap)
        heap.thread_exit()
    heap.trim()
    assert merged(heap) > 0
    told.compare()


def test_threads_that_cannot_be_stopped_end_the_pass_and_nothing_is_lost(heap, monkeypatch):
    asked = []
    monkeypatch.setattr(SharedFrames, "stop_others", lambda self: asked.append(1) or -1)
    told = scattered(heap)
    heap.trim()
    assert merged(heap) == 0 and len(asked) == 1
    heap.check()
    told.compare()


# --- how long they are stopped


def passing(heap):
    """Let each move of a page take a millisecond; return the list of calls that grows."""
    calls = []

    def note(name, given, result, who):
        calls.append(name)
        heap.process.clock += MILLISECOND * (name == "alias_frame")

    heap.process.observe(call=note)
    return calls


def moves_in_each_stop(calls):
    """The numbers of pages that moved between each stop and its end."""
    found, inside = [], False
    for name in calls:
        if name in ("stop_others", "resume_others"):
            assert inside == (name == "resume_others"), "each stop ends before the next one"
            inside = not inside
            found += [0] if inside else []
        elif name in ("alias_frame", "take_frame"):
            assert inside, "no page moves while others run"
            found[-1] += name == "alias_frame"
    assert not inside
    return found


def test_a_trim_stops_the_others_for_some_milliseconds_at_a_time(heap):
    scattered(heap, keep=16)
    calls = passing(heap)
    heap.trim()
    moves = moves_in_each_stop(calls)
    assert len(moves) > 2 and max(moves) <= 6 and sum(moves) == merged(heap)


@pytest.mark.long
def test_a_drain_stops_them_once(heap):
    told = scattered(heap, keep=1, count=48 * IN_SLAB * 4)
    heap.process.clock += 1
    calls = passing(heap)
    for i, block in enumerate(list(told.contents)):
        if i % 16:
            heap.dealloc(block)
        if i == len(told.contents) // 2:
            heap.process.clock += 200 * MILLISECOND
    moves = moves_in_each_stop(calls)
    assert len(moves) == 1 and 0 < moves[0] <= 6


def test_nobody_waits_for_a_lock_while_others_are_stopped():
    heap = SharedHeap.start(DESIGN)
    lock, threads = heap.state.meshes.lock, Threads(heap)

    def hold():
        lock.store(1)
        heap.memory.relax()

    def stop():
        heap.memory.stop_others()
        heap.memory.wait(lock.address, 1)

    threads.main(hold)
    threads.spawn(stop)
    with pytest.raises(Fault) as caught:
        threads.run()
    assert caught.value.kind == Kind.DEADLOCK


# --- fork


def thread_with_meshed_pages(heap):
    """A thread, and the blocks in its home that lie in meshed pages."""
    thread = heap.process.new_thread()
    with on(heap, thread):
        told = scattered(heap)
        heap.trim()
    assert merged(heap) > 0
    return thread, [block for block in told.contents if slab_of(heap, block).meshed]


def child_of(heap, thread, work):
    """A child, forked while another thread works after the copies of the frames were made."""
    heap._call("fork_prepare")
    with on(heap, thread):
        work()
    child = heap.over(heap.process.fork())
    child._call("fork_child")
    heap._call("fork_parent")
    return child


def test_a_child_does_not_follow_links_that_came_after_the_copies_of_its_frames(heap):
    heap.alloc(40)
    thread, blocks = thread_with_meshed_pages(heap)
    child = child_of(heap, thread, lambda: [heap.dealloc(block) for block in blocks[:8]])
    child.trim()
    with on(child, child.process.new_thread()):
        assert all(child.alloc(256) for _ in range(64))
    heap.check()


def test_a_child_forgets_what_others_sent_after_the_copies(heap):
    told = scattered(heap)
    heap.trim()
    sent = [block for block in told.contents if slab_of(heap, block).meshed][:32]
    thread = heap.process.new_thread()

    def send():
        for block in sent:
            heap.dealloc(block)
        for _ in range(2):
            heap.alloc(2000)  # the second one needs a refill, which posts the outbox

    with on(heap, thread):
        heap.alloc(2000)
    child = child_of(heap, thread, send)
    assert home_of(heap).inbox.load() and not home_of(child).inbox.load()
    child.trim()
    assert all(child.alloc(256) for _ in range(64))


@pytest.mark.long
def test_a_child_still_frees_blocks_of_homes_that_it_abandoned(heap):
    heap.alloc(40)
    thread, blocks = thread_with_meshed_pages(heap)
    child = child_of(heap, thread, lambda: None)
    for block in blocks:
        child.dealloc(block)
    child.trim()
    heap.check()


def test_a_child_of_a_process_without_meshed_pages_takes_over_the_homes(heap):
    with elsewhere(heap) as home:
        heap.alloc(40)
    child = heap.fork()
    assert home.at(home.address).lock.load() == FREE and child.state.roster.idle.address == home.address


def test_plain_wright_has_no_doubts():
    heap = fresh("wright")
    with elsewhere(heap):
        heap.alloc(40)
    assert heap.fork().state.meshes.doubtful == 0
