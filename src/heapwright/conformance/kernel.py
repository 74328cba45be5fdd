"""Checks with an unhelpful kernel: it refuses, somebody else moves the break, its pages have another size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from heapwright.conformance.registry import check
from heapwright.conformance.stories import (
    FOREIGN,
    USUAL,
    Steps,
    for_all_stories,
    for_story,
)
from heapwright.conformance.story import Play, Step, Wrong, busy_day, demand, with_story
from heapwright.conformance.subject import Subject
from heapwright.conformance.universal import all_intact, blocks_are_disjoint, survey_agrees, walk_tiles
from heapwright.machine import Heap

LARGE = 5 << 19, 3 << 19, 3 << 19  # more than heaps take from the kernel at a time
MISALIGNED = (1, 5, 8, 24, 100, 4095)
MIN_REFUSALS = 4
MEMORY_STEPS = ("alloc", "zeroed", "realloc")


# --- U7: refusals


def hungry(subject: Subject) -> Iterator[Step]:
    """Requests that often ask the kernel for memory, mixed with others that do not; large ones at full effort."""
    yield Step("alloc", 0, 40)
    for i in range(12):
        yield Step("alloc", 0, (i * 7919) % 90_000, 1 << 15 if i % 5 == 4 else 16)
        yield Step("alloc", 0, 24 * i)
        if i % 3 == 2:
            yield Step("realloc", i, 30_000 + 9_000 * i)
            yield Step("zeroed", 0, 20_000)
            yield Step("free", i // 2)
    if not subject.is_quick:
        yield from (Step("alloc", 0, size) for size in LARGE)
        yield Step("realloc", -1, LARGE[0])


def refusals(subject: Subject) -> list[tuple[int, bool]]:
    """The request to refuse, and whether only that one: first request 1, then the others in random order."""
    heap = subject.heap(frames=1 << 14)
    heap.process.kernel.calls.at(1 << 30)
    Play(heap).play(hungry(subject))
    asked = (1 << 30) - heap.process.kernel.calls.left
    turns = [1, *subject.rng(7).sample(range(2, asked + 1), asked - 1)]
    return [(k, once) for k in turns for once in (False, True)]


@check("U7_failure_atomicity", "when any call of sbrk or mmap fails, requests return 0 and every block stays as it is")
def failure_atomicity(subject: Subject) -> str:
    failed = 0
    for k, once in subject.in_time(refusals(subject), MIN_REFUSALS):

        def refused(steps: Steps, k: int = k, once: bool = once) -> None:
            nonlocal failed
            with with_story(Play(subject.heap(frames=1 << 14))) as play:
                refuse(play, k, once)
                failed += play_refused(play, steps, once)

        for_story(subject, list(hungry(subject)), refused)
    return f"{failed} requests failed"


def refuse(play: Play, k: int, once: bool) -> None:
    play.lines.append(f"the kernel refuses request {k} for memory{'' if once else ' and all that follow'}")
    play.heap.process.kernel.calls.at(k, once)


def play_refused(play: Play, steps: Steps, once: bool) -> int:
    """Go on after refusals: all blocks are intact, and when the kernel gives memory again, so does the heap."""
    failed = 0
    for step in steps:
        live = len(play.heap.live)
        play.take(step)
        if step.name in MEMORY_STEPS and play.results[-1] == 0:
            failed += 1
            demand(live == len(play.heap.live), "U7  a request that failed changed the number of live blocks")
            all_intact(play)
    play.heap.check()
    demand(failed <= 1 or not once, f"U7  the kernel refused once, but {failed} requests failed")
    if not once:
        play.heap.process.kernel.calls.never()
        play.lines.append("the kernel gives memory again")
    play.take(Step("alloc", 0, 50_000))
    demand(play.results[-1] != 0, "U7  the kernel gives memory, but the heap does not")
    play.end()
    play.heap.check()
    return failed


@check("U7_nothing_kept", "requests that fail again and again keep no memory from the kernel")
def nothing_kept(subject: Subject) -> None:
    """A first failure may keep memory for the next request; later failures must not keep more."""
    for k in range(1, 5):
        with with_story(Play(subject.heap(frames=1 << 14))) as play:
            play.take(Step("alloc", 0, 40))
            held = [ask_in_vain(play, k) for _ in range(4)]
            demand(held[1:] == held[:1] * 3 or not all(held), f"U7  a request that fails keeps more each time: {held}")


def ask_in_vain(play: Play, k: int) -> int:
    """The bytes held after a large request that the kernel refuses at its k-th call; 0 if the request succeeds."""
    refuse(play, k, once=False)
    play.take(Step("alloc", 0, 300_000, 1 << 16))
    play.heap.process.kernel.calls.never()
    return 0 if play.results[-1] else play.heap.memory.held()


@check("U7_words_unchanged", "a request that fails changes no word of the heap")
def words_unchanged(subject: Subject) -> str:
    """Test this after the first call, which initializes the heap. With RECLAIMS = True a failing search may sort free
    memory or prepare for the next request: then the second of two failing requests must change nothing."""
    reclaims = subject.constant("RECLAIMS", False)
    failed = 0
    for k, once in subject.in_time(refusals(subject), MIN_REFUSALS):
        if once and reclaims:
            continue

        def refused(steps: Steps, k: int = k, once: bool = once) -> None:
            nonlocal failed
            with with_story(Play(subject.heap(frames=1 << 14))) as play:
                refuse(play, k, once)
                for step in steps:
                    failed += take_unchanged(play, step, reclaims)

        for_story(subject, list(hungry(subject)), refused)
    return f"{failed} requests failed{', twice each' if reclaims else ''}"


def take_unchanged(play: Play, step: Step, reclaims: bool) -> bool:
    """Make a request; return whether it failed. If so, every word must be unchanged."""
    before = pages_of(play.heap) if play.blocks else {}
    play.take(step)
    failed = bool(before) and step.name in MEMORY_STEPS and play.results[-1] == 0
    if failed and reclaims:
        before = pages_of(play.heap)
        play.take(step)
    if failed and play.results[-1] == 0:
        compare(before, pages_of(play.heap))
    return failed


Pages = dict[int, bytes]


def pages_of(heap: Heap) -> Pages:
    """The pages with the heap's own words, and the touched pages of its memory."""
    page, extents = heap.process.space.page, heap.extents()
    pages = {number * page: views[1][0] for number, views in heap.process.space.pages.items()}
    mine = [heap.words // page * page]
    mine += [at for at in pages if any(start < at + page and at < end for start, end in extents)]
    return {at: bytes(pages.get(at, b"")) for at in mine}


def compare(before: Pages, after: Pages) -> None:
    for at in sorted(before.keys() | after.keys()):
        size = max(len(before.get(at, b"")), len(after.get(at, b"")))
        old, new = before.get(at, b"").ljust(size, b"\0"), after.get(at, b"").ljust(size, b"\0")
        if old != new:
            offset = next(i for i in range(0, size, 8) if old[i : i + 8] != new[i : i + 8])
            words = [hex(int.from_bytes(data[offset : offset + 8], "little")) for data in (old, new)]
            raise Wrong(f"U7  a request that failed changed the word at {at + offset:#x} from {words[0]} to {words[1]}")


@check("U7_break_stuck", "when the break cannot rise, a heap that maps memory goes on, and every heap stays sound")
def break_stuck(subject: Subject) -> str:
    """Stop the break at the first call or a later one, as if something were mapped right above it."""
    met = 0
    for k in (1, 2, 4):

        def stuck(steps: Steps, k: int = k) -> None:
            nonlocal met
            with with_story(Play(subject.heap(frames=1 << 14))) as play:
                play.lines.append(f"the break rises {k - 1} times")
                play.heap.process.kernel.breaks.at(k)
                play.play(steps)
                walk_tiles(play)
                met += sum(map(bool, play.results))
                sound(play)

        frees = [Step("free", 5)] * 20
        for_story(subject, [*hungry(subject), *busy_day(24), *frees, *hungry(subject), Step("trim")], stuck)
    return f"{met} requests were met"


@check("U7_break_moves", "when somebody moves the break just before the heap does, every request still succeeds")
def break_moves(subject: Subject) -> None:
    """Keep new memory from joining the old, as when the break is stuck and memory comes from mappings."""
    for k, once in subject.in_time([(1, True), (2, False), (2, True), (4, False)], 2):

        def elsewhere(steps: Steps, k: int = k, once: bool = once) -> None:
            with with_story(Play(subject.heap(frames=1 << 14))) as play:
                play.lines.append(f"somebody moves the break before rise {k}{'' if once else ' and all that follow'}")
                play.heap.process.kernel.intrusions.at(k, once)
                play_met(play, steps)

        larger = [*[Step("alloc", 0, 1 << 18, 1 << 18)] * 4, *(Step("alloc", 0, size) for size in LARGE)]
        frees = [Step("free", 5)] * 20
        for_story(subject, [*hungry(subject), *larger, *frees, *larger, Step("trim")], elsewhere)


def play_met(play: Play, steps: Steps) -> None:
    """Go on; every request must succeed."""
    for step in steps:
        play.take(step)
        demand(play.results[-1:] != [0], "U7  the kernel gives memory, but the heap does not")
    walk_tiles(play)
    sound(play)


@check("U7_too_little", "too little memory from the kernel does no harm, even if the kernel does not take it back")
def too_little(subject: Subject) -> None:
    """Refuse the second request of a heap that asks twice because somebody moved the break."""
    for k, taken_back in product((1, 2, 3), (False, True)):
        with with_story(Play(subject.heap(frames=1 << 14))) as play:
            play.play([Step("alloc", 0, 40), Step("alloc", 0, 90_000), Step("free", 1), Step("foreign", 0, 24)])
            refuse(play, k, once=False)
            if not taken_back:
                play.heap.process.kernel.returns.at(1)
            play.take(Step("alloc", 0, 100_000))
            play.heap.process.kernel.calls.never()
            play.heap.process.kernel.returns.never()
            walk_tiles(play)
            play.take(Step("alloc", 0, 100_000))
            demand(play.results[-1] != 0, "U7  the kernel gives memory, but the heap does not")
            survey_agrees(play)
            sound(play)


# --- U7: memory that the kernel does not take back

SIZES = 40, 3000, 90_000, 300_000, 3 << 19, 3 << 20
MACHINE = {"page": 1 << 14, "frames": 1 << 14}  # room for segments of 64 MiB, in not too many pages


def generous() -> Iterator[Step]:
    """Allocate blocks and free most of them, so that memory goes back: also the ends and the middle of mappings."""
    for which, align in enumerate((16, 1 << 16, 1 << 17)):
        yield Step("thread", which)
        yield from (Step("alloc", 0, size, align) for size in SIZES)
        yield from (Step("realloc", 3, 200_000), Step("realloc", -1, 100), Step("zeroed", 0, 400_000))
        yield from (Step("free", which) for which in (2, -1, 3, 1, 2))
        yield from (Step("trim"), Step("thread_exit"))


def returns_to_refuse(subject: Subject) -> list[tuple[int, bool]]:
    """The call that returns memory to refuse, and whether only that one: at first, all of them."""
    heap = subject.heap(**MACHINE)
    heap.process.kernel.returns.at(1 << 30)
    Play(heap).play(generous())
    asked = (1 << 30) - heap.process.kernel.returns.left
    turns = [1, *subject.rng(7).sample(range(2, asked + 1), asked - 1)] if asked else []
    return [(k, once) for once in (False, True) for k in turns]


@check(
    "U7_nothing_taken_back",
    "when the kernel refuses to take memory back, at any call, the heap goes on and every block stays",
)
def nothing_taken_back(subject: Subject) -> str:
    asked = returns_to_refuse(subject)
    for k, once in subject.in_time(asked, 2):

        def kept(steps: Steps, k: int = k, once: bool = once) -> None:
            with with_story(Play(subject.heap(**MACHINE))) as play:
                play.lines.append(f"the kernel refuses return {k} of memory{'' if once else ' and all that follow'}")
                play.heap.process.kernel.returns.at(k, once)
                play_unreturned(play, steps)

        for_story(subject, list(generous()), kept)
    return f"{len(asked) // 2} calls return memory"


def play_unreturned(play: Play, steps: Steps) -> None:
    """Go on while no memory goes back; then let the kernel take memory back again, and go on."""
    for wanted in (steps, [Step("trim")], steps):
        for step in wanted:
            if step.name == "trim":  # which may offer the kept memory to the kernel again
                play.heap.check()
            play.take(step)
            demand(play.results[-1:] != [0], "U7  the kernel gives memory, but the heap does not")
            all_intact(play)
        play.heap.check()
        survey_agrees(play)
        play.end()
        play.heap.check()
        if wanted is not steps:
            play.heap.process.kernel.returns.never()
            play.lines.append("the kernel takes memory back again")


# --- a break that somebody else moves, other page sizes


@check("foreign_sbrk", "the program may move the break between requests, by odd amounts too")
def foreign_sbrk(subject: Subject) -> None:
    for_all_stories(subject, "foreign", *USUAL, FOREIGN, FOREIGN, each=blocks_are_disjoint, last=sound)


def sound(play: Play) -> None:
    all_intact(play)
    play.heap.check()
    play.end()
    play.heap.check()


@check("misaligned_break", "the break may lie anywhere when the heap is initialized")
def misaligned_break(subject: Subject) -> None:
    for offset in subject.in_time(MISALIGNED):

        def shifted(steps: Steps, offset: int = offset) -> None:
            with with_story(Play(subject.heap())) as play:
                play.take(Step("foreign", 0, offset))
                play.play(steps)
                walk_tiles(play)
                sound(play)

        for_story(subject, busy_day(blocks=12), shifted)


@check("page_sizes", "the heap works with pages of 16 and 64 KiB as with pages of 4 KiB")
def page_sizes(subject: Subject) -> None:
    for page in subject.in_time((1 << 14, 1 << 16)):

        def paged(steps: Steps, page: int = page) -> None:
            with with_story(Play(subject.heap(page=page, frames=1 << 11))) as play:
                play.lines.append(f"pages of {page} bytes")
                play.play(steps)
                play.take(Step("trim"))
                walk_tiles(play)
                sound(play)

        for_story(subject, busy_day(blocks=30), paged)


@check("lazy_memory", "the heap works with memory that gets its frames only when it is touched")
def lazy_memory(subject: Subject) -> None:
    def lazily(steps: Steps) -> None:
        with with_story(Play(subject.heap(lazy=True))) as play:
            play.play(steps)
            sound(play)

    for_story(subject, busy_day(blocks=30), lazily)
