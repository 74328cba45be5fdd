"""Wright's threads: homes and their successors, remote frees in batches, threads without a home, fork."""

import random

import pytest
from heaps import bytes_by_kind, on, spans
from wrights import elsewhere, home_of, list_of, slab_of

from heapwright import allocator
from heapwright.allocators.wright import classes, contents, homes, records, remote
from heapwright.machine.state import Thread
from heapwright.spans import CACHED, USED

DESIGN = allocator.load("wright")


# --- homes


def test_threads_have_homes_of_their_own(heap):
    here = slab_of(heap, heap.alloc(40))
    with elsewhere(heap):
        there = slab_of(heap, heap.alloc(40))
    assert records.home_address(here) != records.home_address(there)
    heap.check()


def test_a_thread_that_ends_leaves_its_home_to_a_later_one(heap):
    heap.alloc(40)
    with elsewhere(heap) as home:
        block = heap.alloc(40)
        heap.dealloc(heap.alloc(40))
        heap.thread_exit()
        assert not home.hot[classes.class_of(40)].first
    with elsewhere(heap) as successor:
        assert successor == home
        assert slab_of(heap, heap.alloc(40)) == slab_of(heap, block)
    heap.check()


def test_a_thread_continues_the_home_of_the_last_one_on_its_stack(heap):
    first, second = heap.process.new_thread(), heap.process.new_thread()
    found = {}
    for each in (first, second):
        with on(heap, each):
            found[each.id] = home_of(heap)
    for each in (first, second):
        with on(heap, each):
            heap.thread_exit()
    for each in (Thread(first.id), Thread(second.id)):
        with on(heap, each):
            assert home_of(heap) == found[each.id]


def test_a_thread_that_ended_still_allocates_and_frees(heap):
    gift = heap.alloc(40)
    with on(heap, heap.process.new_thread()):
        block = heap.alloc(40)
        heap.thread_exit()
        heap.dealloc(block)
        heap.dealloc(gift)
        last = heap.alloc(40)
        heap.check()
        assert records.home_address(slab_of(heap, last)) == heap.state.roster.common.address
        heap.dealloc(last)
    heap.check()
    assert bytes_by_kind(heap)[USED] == 0


def test_without_memory_for_its_home_a_thread_still_frees(heap):
    block = heap.alloc(100)
    heap.process.kernel.calls.at(1)
    with on(heap, heap.process.new_thread()):
        heap.dealloc(block)
    heap.process.kernel.calls.never()
    assert list(contents.batches_of(home_of(heap))) == [[block]]
    heap.check()


# --- remote frees


def test_a_thread_does_not_hand_out_what_another_one_allocated(heap):
    kept, gift = heap.alloc(8), heap.alloc(8)
    assert kept // 64 == gift // 64
    with elsewhere(heap):
        heap.dealloc(gift)
        taken = [heap.alloc(8) for _ in range(600)]
        assert not {slab_of(heap, each).address for each in taken} & {slab_of(heap, gift).address}
        assert (gift, 16) in spans(heap, CACHED)
    heap.check()


@pytest.mark.parametrize(("size", "batch"), [(16, 64), (1000, 5), (5000, 1)])
def test_a_batch_is_posted_when_it_is_full(heap, size, batch):
    blocks = [heap.alloc(size) for _ in range(batch)]
    home = home_of(heap)
    with elsewhere(heap) as other:
        for block in blocks[:-1]:
            heap.dealloc(block)
        assert not home.inbox.load()
        assert batch == 1 or [found for _, found in contents.posted_in(other)] == [blocks[-2::-1]]
        heap.check()
        heap.dealloc(blocks[-1])
        assert list(contents.batches_of(home)) == [blocks[::-1]]
        heap.check()


@pytest.mark.parametrize("occasion", ["an empty list", "the end of the thread"])
def test_what_waits_in_the_outbox_is_posted(heap, occasion):
    block, home = heap.alloc(40), home_of(heap)
    with elsewhere(heap):
        heap.alloc(40)
        heap.dealloc(block)
        assert not list(contents.batches_of(home))
        if occasion == "an empty list":
            heap.alloc(72)
        else:
            heap.thread_exit()
        assert list(contents.batches_of(home)) == [[block]]
    heap.check()


def test_another_slab_in_the_same_place_posts_the_batch(heap):
    here = [heap.alloc(1024) for _ in range(16 * 18)]
    slabs_of = {}
    for block in here:
        slabs_of.setdefault(remote.slot_for(home_of(heap), slab_of(heap, block)).address, []).append(block)
    pair = next(blocks for blocks in slabs_of.values() if slab_of(heap, blocks[0]) != slab_of(heap, blocks[-1]))
    with elsewhere(heap):
        heap.dealloc(pair[0])
        assert not list(contents.batches_of(heap.state.roster.youngest.older))
        heap.dealloc(pair[-1])
        assert list(contents.batches_of(heap.state.roster.youngest.older)) == [[pair[0]]]
    heap.check()


def test_the_owner_takes_its_batches_when_a_list_is_empty(heap):
    blocks = [heap.alloc(1024) for _ in range(16)]
    slab = slab_of(heap, blocks[0])
    with elsewhere(heap):
        for block in blocks[:10]:
            heap.dealloc(block)
    home = home_of(heap)
    assert len(list(contents.batches_of(home))) == 2
    heap.alloc(1024)
    assert not home.inbox.load() and slab.free.address in blocks[:10] + [0]
    heap.check()
    with elsewhere(heap):
        for block in blocks[10:]:
            heap.dealloc(block)
        heap.alloc(2048)  # posts the rest
    heap.trim()
    heap.check()


def test_one_thread_allocates_and_another_frees_without_blowup(heap):
    consumer, peaks = heap.process.new_thread(), []
    for _ in range(12):
        blocks = [heap.alloc(500) for _ in range(400)]
        with on(heap, consumer):
            for block in blocks:
                heap.dealloc(block)
        peaks.append(heap.state.pages.taken.load())
    assert max(peaks[4:]) <= peaks[2]
    heap.check()


@pytest.mark.long
def test_a_sender_drains_the_inbox_of_a_thread_that_sleeps(heap):
    blocks = [heap.alloc(4000) for _ in range(4 * 60)]
    owner = home_of(heap)
    assert owner.tiles == 60
    with elsewhere(heap):
        for block in blocks:
            heap.dealloc(block)
            heap.check()
    assert owner.inbox.load() >> remote.COUNT <= remote.RELIEF and owner.tiles <= 8


def test_a_sender_leaves_a_home_alone_that_its_thread_is_changing(heap):
    blocks = [heap.alloc(4000) for _ in range(4 * 20)]
    owner = home_of(heap)
    owner.lock.store(1)
    with elsewhere(heap):
        for block in blocks:
            heap.dealloc(block)
    assert owner.inbox.load() >> remote.COUNT == len(blocks) and owner.tiles == 20
    owner.lock.store(0)
    heap.trim()
    heap.check()
    assert bytes_by_kind(heap)[USED] == 0


def test_a_thread_that_frees_all_and_sleeps_keeps_little(heap):
    with elsewhere(heap) as home:
        blocks = [heap.alloc(16 * (1 + i % 20)) for i in range(6000)]
        assert home.tiles > 60
        for block in blocks:
            heap.dealloc(block)
        heap.check()
        assert home.tiles <= 20


def test_lists_that_pin_a_block_in_each_slab_go_home_when_much_came_free(heap):
    rng = random.Random(1)
    with elsewhere(heap) as home:
        blocks = [heap.alloc(rng.randrange(16, 1001)) for _ in range(6000)]
        before, rest = home.tiles, blocks[600:]
        rng.shuffle(rest)
        for block in rest:
            heap.dealloc(block)
        heap.check()
        assert home.tiles < before // 2


def test_another_thread_empties_its_lists_at_its_next_refill_after_a_trim(heap):
    thread, size_class = heap.process.new_thread(), classes.class_of(40)
    with on(heap, thread):
        heap.dealloc(heap.alloc(40))
        home = home_of(heap)
    heap.trim()
    assert home.hot[size_class].first
    with on(heap, thread):
        heap.alloc(2000)
        assert not home.hot[size_class].first
        heap.dealloc(heap.alloc(40))
        heap.alloc(3000)
        assert home.hot[size_class].first, "once only"
    heap.check()


@pytest.mark.long
def test_a_crowd_of_threads_shares_the_first_blocks_of_each_class(heap):
    places = []
    for _ in range(homes.CROWD + 4):
        with elsewhere(heap):
            places.append([heap.alloc(24) for _ in range(homes.MAX_TRIED + 1)])
            heap.check()
    common = heap.state.roster.common.address
    owners = [[records.home_address(slab_of(heap, each)) == common for each in blocks] for blocks in places]
    assert not any(owners[0]) and owners[-1] == [True] * homes.MAX_TRIED + [False]


# --- fork


def test_a_child_takes_over_the_homes_of_other_threads(heap):
    heap.alloc(40)
    with elsewhere(heap) as home:
        block = heap.alloc(40)
        heap.dealloc(heap.alloc(40))
    child = heap.fork()
    assert child is not None
    child.dealloc(block)
    child.check()
    with on(child, child.process.new_thread()):
        assert home_of(child).address == home.address
        child.alloc(40)
    child.check()
    assert not child.state.pages.lock.load() and not child.state.roster.lock.load()


@pytest.mark.parametrize("word", ["busy", "lock"])
def test_a_child_leaves_a_home_that_was_being_changed(heap, word):
    with elsewhere(heap) as home:
        heap.alloc(40)
        home.busy = word == "busy"
        home.lock.store(word == "lock")
    child = heap.fork()
    assert child is not None and not child.state.roster.idle
    with on(child, child.process.new_thread()):
        assert home_of(child).address != home.address


def test_a_fork_sees_that_an_outbox_is_being_changed(heap):
    with elsewhere(heap):
        block = heap.alloc(40)
    heap.dealloc(heap.alloc(40))
    home, busy = home_of(heap), []
    outbox = range(home.outbox[0].address, home.outbox[0].address + homes.SLOTS * homes.Slot.SIZE)

    def note(operation, address, size, value, who):
        if operation == "store" and address in outbox and who == "allocator":
            busy.append(home.busy)

    stop = heap.process.observe(note)
    heap.dealloc(block)
    puts = len(busy)
    heap.alloc(72)  # its list is empty, so the outbox is posted
    stop()
    assert 0 < puts < len(busy) and set(busy) == {1} and not home.busy


def test_a_child_forgets_the_common_home_if_it_was_being_changed(heap):
    with on(heap, heap.process.new_thread()):
        heap.alloc(40)
        heap.thread_exit()
        heap.alloc(40)
    heap.state.roster.common.lock.store(1)
    child = heap.fork()
    assert child is not None and not child.state.roster.common
    child.check()


def test_a_list_is_named_for_its_home(heap):
    block = heap.alloc(40)
    heap.dealloc(block)
    name = f"home {home_of(heap).address:#x}, 48 bytes"
    assert dict(heap.lists())[name][0] == block == list_of(heap, classes.class_of(40))[0]


def test_a_home_lies_where_a_tag_can_name_it():
    assert homes.Home.SIZE <= 2 * records.HOME_BOUNDARY
    assert min(records.FREE_TAG, records.LARGE_TAG) >= records.STEPS
