"""Pages that share a frame: what each of them sees, what fork and exit do, and what a refused call leaves."""

import pytest

from heapwright.machine import Fault, Kernel, Kind, Process
from heapwright.machine.checkpoint import Checkpoint
from heapwright.machine.threads import Threads

PAGE, PART = 4096, 16
FIRST_PART, ALL = 1, (1 << PAGE // PART) - 1


@pytest.fixture
def running():
    return Process.start(Kernel(frames=256), data=PAGE)


@pytest.fixture
def pages(running):
    """Two pages, the first of which has a frame that others can share; the words of each are its address."""
    start = running.mmap(2 * PAGE)
    for page in (start, start + PAGE):
        for place in range(0, PAGE, 8):
            running.memory.store(page + place, 8, page)
    spare = running.memory.spare_frames(2)
    running.memory.save_frame(spare, start)
    assert running.memory.take_frame(spare, start) == 0
    running.memory.drop_frames(spare + PAGE, 1)
    return start, start + PAGE


def bitmap(running, bits):
    """The address of a bitmap of the parts of a page."""
    place = running.reserve(PAGE // PART // 8)
    running.poke(place, bits.to_bytes(PAGE // PART // 8, "little"))
    return place


def taken(running):
    return running.kernel.frames.taken


def test_a_shared_frame_has_the_contents_of_the_page(running, pages):
    assert running.memory.load(pages[0] + 8, 8) == pages[0]
    assert len(running.mappings) == 1 and running.memory.held() == 2 * PAGE
    running.check()


def test_two_pages_lead_to_one_frame_with_the_parts_of_both(running, pages):
    source, target = pages
    before = taken(running)
    assert running.memory.alias_frame(source, target, bitmap(running, FIRST_PART)) == 0
    assert taken(running) == before - 1
    assert running.memory.load(target + 8, 8) == target and running.memory.load(source + PART, 8) == source
    running.memory.store(target, 8, 5)
    assert running.peek(source, 8) == running.peek(target, 8) == (5).to_bytes(8, "little")
    running.check()


@pytest.mark.parametrize("who", ["memory", "user"])
def test_nobody_reaches_a_part_through_the_other_page(running, pages, who):
    source, target = pages
    running.memory.alias_frame(source, target, bitmap(running, FIRST_PART))
    for place in (source, target + PART):
        with pytest.raises(Fault) as caught:
            getattr(running, who).load(place, 8)
        assert caught.value.kind == Kind.UNMAPPED


@pytest.mark.parametrize("keeps", [0, 1])
def test_a_page_that_leaves_has_its_own_frame_and_the_other_keeps_theirs(running, pages, keeps):
    source, target = pages
    running.memory.alias_frame(source, target, bitmap(running, FIRST_PART))
    assert running.memory.part_frame(target, 0, keeps) == 0
    assert running.memory.load(target, 8) == (target if keeps else 0)
    running.memory.store(target, 8, 7)
    assert running.peek(source, 8) == target.to_bytes(8, "little")
    before = taken(running)
    assert running.memory.part_frame(source, 1, 1) == 0
    assert taken(running) == before and not running.kernel.frames.users
    assert running.memory.load(source + PART, 8) == source
    running.check()


def test_a_page_with_live_payload_keeps_its_contents(running, pages):
    running.space.shadow.write(pages[0], bytes([2]) * 8)
    with pytest.raises(Fault) as caught:
        running.memory.part_frame(pages[0], 1, 0)
    assert caught.value.kind == Kind.LIVE


def test_parent_and_child_share_a_frame_until_the_child_takes_another(running, pages):
    source, target = pages
    running.memory.alias_frame(source, target, bitmap(running, FIRST_PART))
    spare = running.memory.spare_frames(1)
    running.memory.save_frame(spare, source)
    child = running.fork()
    running.memory.drop_frames(spare, 1)
    running.memory.store(target, 8, 1)
    assert child.memory.load(target, 8) == 1
    assert child.memory.take_frame(spare, source) == child.memory.alias_frame(source, target, 0) == 0
    assert child.memory.load(target, 8) == target
    child.memory.store(target, 8, 2)
    assert running.memory.load(target, 8) == 1 and child.peek(source, 8) == (2).to_bytes(8, "little")
    child.check()
    child.exit()
    running.check()
    running.exit()
    running.check()
    assert taken(running) == 1, "the trampoline"


def test_a_frame_outlives_the_process_that_shared_it_first(running, pages):
    child = running.fork()
    running.exit()
    assert child.memory.load(pages[0], 8) == pages[0]
    child.check()
    child.exit()
    assert taken(running) == 1


def test_a_shared_page_that_is_unmapped_or_released_leaves_the_frame_to_the_other(running, pages):
    source, target = pages
    running.memory.alias_frame(source, target, 0)
    before = taken(running)
    assert running.memory.decommit(target, PAGE) == 0 and running.memory.load(source, 8) == source
    assert taken(running) == before
    assert running.munmap(source, PAGE) == 0 and taken(running) == before - 1
    running.check()


@pytest.mark.parametrize("call", ["take_frame", "alias_frame", "part_frame"])
def test_a_refused_call_changes_nothing(running, pages, call):
    source, target = pages
    spare = running.memory.spare_frames(1)
    arguments = {"take_frame": (spare, target), "alias_frame": (source, target, 0), "part_frame": (source, 1, 0)}[call]
    before = taken(running), running.peek(source, 2 * PAGE), dict(running.kernel.frames.users)
    running.kernel.calls.at(1)
    assert getattr(running.memory, call)(*arguments) == -1
    assert (taken(running), running.peek(source, 2 * PAGE), dict(running.kernel.frames.users)) == before
    running.check()


def test_no_spare_frames_without_memory(running):
    before = taken(running)
    assert running.memory.spare_frames(1 << 20) == -1
    assert taken(running) == before
    running.check()


def test_a_checkpoint_knows_who_shares_a_frame(running, pages):
    before = Checkpoint(running)
    running.memory.alias_frame(*pages, 0)
    before.restore()
    running.memory.store(pages[1], 8, 3)
    assert running.memory.load(pages[0], 8) == pages[0]
    running.check()


@pytest.mark.parametrize("stops", [0, 1])
def test_a_write_while_a_page_moves_is_lost_unless_its_thread_is_stopped(running, pages, stops):
    source, target = pages
    parts, threads = bitmap(running, FIRST_PART), Threads(running)

    def move():
        assert not stops or running.memory.stop_others() == 0
        assert running.memory.alias_frame(source, target, parts) == 0
        if stops:
            running.memory.resume_others()

    threads.main(move)
    threads.spawn(lambda: running.memory.store(target, 8, 7))
    threads.run(InTheMiddle())
    assert running.memory.load(target, 8) == (7 if stops else target)


class InTheMiddle:
    """Lets another thread go on, if one can, in the middle of the move."""

    def choose(self, point):
        return point.ready[-1 if point.access and point.access.operation == "alias_frame" else 0]


def test_threads_cannot_be_stopped_if_the_kernel_refuses(running):
    running.kernel.calls.at(1)
    assert running.memory.stop_others() == -1
