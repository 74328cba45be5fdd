"""What `sbrk` does, in each kernel."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright.machine import SEMANTICS, Fault, Kernel, Kind, Process, boot

PAGE = 4096


def process(**options):
    return Process.start(boot(**{"frames": 256, **options}))


def grown(n, **options):
    """A process whose heap has `n` bytes."""
    running = process(**options)
    assert running.sbrk(n) == running.heap_start
    return running


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize(
    ("n", "frames"), [(0, 0), (1, 1), (PAGE - 1, 1), (PAGE, 1), (PAGE + 1, 2), (10 * PAGE, 10), (10 * PAGE + 5, 11)]
)
def test_growth_is_exact_and_returns_the_old_break(semantics, n, frames):
    running = process(semantics=semantics)
    before, old = running.kernel.frames.taken, running.brk
    assert running.sbrk(n) == old == running.heap_start
    assert running.brk == old + n
    assert running.kernel.frames.taken - before == frames
    running.check()


# The size of the heap after growing by `grow` and then calling sbrk(n), and whether the call succeeds.
SHRINKS = [
    # grow, n, exact, xv6, xv6rs
    (8192, -1, 8191, 8191, 8192),
    (8292, -50, 8242, 8242, 12288),
    (8292, -100, 8192, 8192, 8192),
    (8292, -8292, 0, 0, 0),
    (8192, -4096, 4096, 4096, 4096),
    (100, 0, 100, 100, 100),
]


@pytest.mark.parametrize(("grow", "n", "exact", "xv6", "xv6rs"), SHRINKS)
def test_shrinks(grow, n, exact, xv6, xv6rs):
    for semantics, size in (("exact", exact), ("xv6", xv6), ("xv6rs", xv6rs)):
        running = grown(grow, semantics=semantics)
        old = running.brk
        assert running.sbrk(n) == old
        assert running.brk - running.heap_start == size, semantics
        running.check()


def test_whole_frames_are_released_and_the_count_returns_to_the_baseline():
    running = process()
    before = running.kernel.frames.taken
    running.sbrk(600 * 1024)
    running.sbrk(-600 * 1024)
    assert running.kernel.frames.taken == before


def test_a_page_that_was_released_comes_back_as_zero():
    running = grown(PAGE)
    running.poke(running.heap_start, b"\xff" * PAGE)
    running.sbrk(-PAGE)
    running.sbrk(PAGE)
    assert running.peek(running.heap_start, PAGE) == bytes(PAGE)


def test_bytes_stay_in_a_page_that_stayed_mapped():
    running = grown(200, unwritten=False)
    start = running.heap_start
    running.memory.store(start + 192, 8, 77)
    running.sbrk(-100)
    with pytest.raises(Fault, match="unmapped address"):
        running.memory.load(start + 192, 8)
    running.sbrk(100)
    assert running.memory.load(start + 192, 8) == 77


def test_stale_bytes_count_as_never_written():
    running = grown(200)
    running.memory.store(running.heap_start + 192, 8, 77)
    running.sbrk(-100)
    running.sbrk(100)
    with pytest.raises(Fault, match="never written"):
        running.memory.load(running.heap_start + 192, 8)


@pytest.mark.parametrize("n", [-1, -4096, -(1 << 40)])
def test_the_break_never_falls_below_the_heaps_start(n):
    running = process()
    before = running.kernel.frames.taken
    assert running.sbrk(n) == -1
    assert (running.brk, running.kernel.frames.taken) == (running.heap_start, before)
    running.check()


@pytest.mark.parametrize("n", [1 << 31, 1 << 38, (1 << 63) - 1])
def test_the_heap_ends_below_the_kernels_pages(n):
    running = process()
    assert running.sbrk(n) == -1
    running.check()


def test_the_heap_ends_below_the_mappings():
    running = process(maxva=64 * PAGE)
    mapping = running.mmap(PAGE)
    room = mapping - running.brk
    assert running.sbrk(room + 1) == -1
    assert running.sbrk(room) == running.heap_start
    assert running.mmap(PAGE) == -1
    running.check()


@pytest.mark.parametrize("k", range(1, 8))
@pytest.mark.parametrize("once", [True, False])
def test_a_growth_that_fails_changes_nothing(k, once):
    running = grown(100)
    frames, brk = running.kernel.frames.taken, running.brk
    running.kernel.frames.failures.at(k, once)
    assert running.sbrk(7 * PAGE) == -1
    assert (running.kernel.frames.taken, running.brk) == (frames, brk)
    running.check()
    running.kernel.frames.failures.never()
    assert running.sbrk(7 * PAGE) == brk


def test_a_level_of_the_page_table_that_cannot_be_had_fails_the_growth():
    running = process(frames=2000)
    running.sbrk((2 << 20) - running.brk)  # up to where the next level begins
    frames = running.kernel.frames.taken
    running.kernel.frames.failures.at(2, once=True)
    assert running.sbrk(PAGE) == -1
    assert running.kernel.frames.taken == frames
    running.check()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_kth_call_fails(k):
    running = process()
    running.kernel.calls.at(k, once=True)
    assert [running.sbrk(16) == -1 for _ in range(4)] == [i == k for i in range(1, 5)]
    assert running.brk == running.heap_start + 48
    running.check()


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_other_page_sizes(page):
    running = process(page=page)
    before = running.kernel.frames.taken
    assert running.heap_start == 4 * page
    assert running.sbrk(page + 1) == running.heap_start
    assert running.kernel.frames.taken == before + 2
    assert page == running.memory.PAGE
    running.memory.store(running.heap_start + page - 8, 8, 5)
    assert running.memory.load(running.heap_start + page - 8, 8) == 5
    running.check()


def test_a_lazy_heap_takes_frames_when_it_is_touched():
    running = process(lazy=True)
    before = running.kernel.frames.taken
    running.sbrk(100 * PAGE)
    assert running.kernel.frames.taken == before
    running.memory.store(running.heap_start + 50 * PAGE, 8, 1)
    assert running.kernel.frames.taken == before + 1
    running.check()


def test_a_lazy_heap_promises_more_than_there_is():
    running = process(lazy=True, frames=16)
    assert running.sbrk(100 * PAGE) != -1
    with pytest.raises(Fault) as caught:
        for page in range(100):
            running.memory.store(running.heap_start + page * PAGE, 8, 1)
    assert caught.value.kind == Kind.MEMORY


# --- V1 to V5 under random operations

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("sbrk"), st.integers(-5 * PAGE, 8 * PAGE)),
        st.tuples(st.just("mmap"), st.integers(-1, 6 * PAGE)),
        st.tuples(st.just("munmap"), st.integers(0, 30), st.integers(0, 4 * PAGE)),
        st.tuples(st.just("mremap"), st.integers(0, 10), st.integers(0, 8 * PAGE), st.integers(0, 1)),
        st.tuples(st.just("decommit"), st.integers(0, 60), st.integers(0, 4)),
        st.tuples(st.just("touch"), st.integers(0, 60)),
        st.tuples(st.just("fork")),
        st.tuples(st.just("fail"), st.integers(1, 12)),
    ),
    max_size=30,
)


def place(running, i):
    """The i-th page that a program may use, or the first one."""
    mappings = [page for start, end in running.mappings for page in range(start, end, PAGE)]
    pages = [*range(running.heap_start, running.space.round_up(running.brk), PAGE), *mappings]
    return pages[i % len(pages)] if pages else running.heap_start


def perform(running, name, *arguments):
    if name == "sbrk":
        running.sbrk(*arguments)
    elif name == "mmap":
        running.mmap(*arguments)
    elif name == "munmap":
        running.munmap(place(running, arguments[0]), arguments[1])
    elif name == "mremap" and running.mappings:
        start, end = running.mappings[arguments[0] % len(running.mappings)]
        running.mremap(start, end - start, *arguments[1:])
    elif name == "decommit":
        running.decommit(place(running, arguments[0]), arguments[1] * PAGE)
    elif name == "touch":
        running.space.reach(place(running, arguments[0]) // PAGE)
    elif name == "fork":
        fork_and_exit(running)
    elif name == "fail":
        running.kernel.frames.failures.at(arguments[0], once=True)


def fork_and_exit(running):
    child = running.fork()
    if child:
        child.check()
        child.exit(4)
        child.check()
        assert running.wait() == (child.pid, 4)


@given(OPERATIONS, st.sampled_from([40, 70]), st.booleans())
@settings(max_examples=150)
def test_the_invariants_hold_whatever_is_called(operations, frames, lazy):
    kernel = Kernel(frames=frames, maxva=200 * PAGE, lazy=lazy)
    running = Process.start(kernel)
    for operation in operations:
        perform(running, *operation)
        running.check()
    running.exit()
    running.check()
    assert (kernel.frames.taken, kernel.frames.reserved) == (1, 0), "only the trampoline is left"


@given(st.lists(st.integers(-3 * PAGE, 3 * PAGE), max_size=20))
@settings(max_examples=60)
def test_only_pages_that_stayed_mapped_keep_their_bytes(moves):
    running = process()
    kept = 0  # bytes from the heap's start that stayed mapped and are full of ones
    for n in moves:
        running.sbrk(n)
        size = running.brk - running.heap_start
        kept = min(kept, running.space.round_up(size))
        assert running.peek(running.heap_start, size) == b"\1" * min(kept, size) + bytes(max(0, size - kept))
        running.poke(running.heap_start, b"\1" * running.space.round_up(size))
        kept = running.space.round_up(size)
