"""The kernel at its worst: it refuses, somebody else moves the break, its pages are of another size."""

from __future__ import annotations

import random
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
from heapwright.conformance.story import Play, Step, Wrong, busy_day, demand, telling
from heapwright.conformance.subject import Subject
from heapwright.conformance.universal import all_intact, blocks_are_disjoint, survey_agrees, walk_tiles
from heapwright.machine import Heap

LARGE = 5 << 19, 3 << 19, 3 << 19  # more than what heaps take from the kernel at a time
MISALIGNED = (1, 5, 8, 24, 100, 4095)
LEAST_REFUSALS = 4
MEMORY_STEPS = ("alloc", "zeroed", "realloc")


# --- U7: refusals


def hungry(subject: Subject) -> Iterator[Step]:
    """Requests that ask the kernel for memory often, in between others that do not; large ones at full effort."""
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
    """Which request of the kernel to refuse, and whether that one only: the first, then the others in no order."""
    heap = subject.heap(frames=1 << 14)
    heap.process.kernel.calls.at(1 << 30)
    Play(heap).play(hungry(subject))
    asked = (1 << 30) - heap.process.kernel.calls.left
    turns = [1, *random.Random(7).sample(range(2, asked + 1), asked - 1)]
    return [(k, once) for k in turns for once in (False, True)]


@check("U7_failure_atomicity", "when sbrk or mmap fails, at any call, requests give 0 and every block stays as it is")
def failure_atomicity(subject: Subject) -> str:
    failed = 0
    for k, once in subject.in_time(refusals(subject), LEAST_REFUSALS):

        def refused(steps: Steps, k: int = k, once: bool = once) -> None:
            nonlocal failed
            with telling(Play(subject.heap(frames=1 << 14))) as play:
                refuse(play, k, once)
                failed += play_refused(play, steps, once)

        for_story(subject, list(hungry(subject)), refused)
    return f"{failed} requests failed"


def refuse(play: Play, k: int, once: bool) -> None:
    play.lines.append(f"the kernel refuses memory the {k}. time{'' if once else ' and from then on'}")
    play.heap.process.kernel.calls.at(k, once)


def play_refused(play: Play, steps: Steps, once: bool) -> int:
    """Go on after refusals; all blocks are intact, and with the kernel's good will comes memory."""
    failed = 0
    for step in steps:
        live = len(play.heap.live)
        play.take(step)
        if step.name in MEMORY_STEPS and play.results[-1] == 0:
            failed += 1
            demand(live == len(play.heap.live), "U7  a request that failed changed the number of live blocks")
            all_intact(play)
    play.heap.check()
    demand(failed <= 1 or not once, f"U7  the kernel refused once, and {failed} requests failed")
    if not once:
        play.heap.process.kernel.calls.never()
        play.lines.append("the kernel gives memory again")
    play.take(Step("alloc", 0, 50_000))
    demand(play.results[-1] != 0, "U7  the kernel gives memory, and the heap does not")
    play.end()
    play.heap.check()
    return failed


@check("U7_nothing_kept", "requests that fail again and again keep no memory of the kernel's")
def nothing_kept(subject: Subject) -> None:
    """What a first failure keeps may serve the next request; more must not come."""
    for k in range(1, 5):
        with telling(Play(subject.heap(frames=1 << 14))) as play:
            play.take(Step("alloc", 0, 40))
            held = [ask_in_vain(play, k) for _ in range(4)]
            demand(held[1:] == held[:1] * 3 or not all(held), f"U7  a request that fails keeps more each time: {held}")


def ask_in_vain(play: Play, k: int) -> int:
    """What is held after a large request that the kernel refuses at its k-th call; 0 if the request is met."""
    refuse(play, k, once=False)
    play.take(Step("alloc", 0, 300_000, 1 << 16))
    play.heap.process.kernel.calls.never()
    return 0 if play.results[-1] else play.heap.memory.held()


@check("U7_words_unchanged", "a request that fails changes no word of the heap")
def words_unchanged(subject: Subject) -> str:
    """Once the first call has opened the heap. TIDIES = True says that a search may sort what it finds on its way,
    or make ready for the next request: then it is the second of two requests in vain that must change nothing."""
    tidies = subject.constant("TIDIES", False)
    failed = 0
    for k, once in subject.in_time(refusals(subject), LEAST_REFUSALS):
        if once and tidies:
            continue

        def refused(steps: Steps, k: int = k, once: bool = once) -> None:
            nonlocal failed
            with telling(Play(subject.heap(frames=1 << 14))) as play:
                refuse(play, k, once)
                for step in steps:
                    failed += take_unchanged(play, step, tidies)

        for_story(subject, list(hungry(subject)), refused)
    return f"{failed} requests failed{', twice each' if tidies else ''}"


def take_unchanged(play: Play, step: Step, tidies: bool) -> bool:
    """Make a request; say whether it failed, which must leave every word as it was."""
    before = pages_of(play.heap) if play.blocks else {}
    play.take(step)
    failed = bool(before) and step.name in MEMORY_STEPS and play.results[-1] == 0
    if failed and tidies:
        before = pages_of(play.heap)
        play.take(step)
    if failed and play.results[-1] == 0:
        compare(before, pages_of(play.heap))
    return failed


Pages = dict[int, bytes]


def pages_of(heap: Heap) -> Pages:
    """The pages with the heap's own words, and those of its memory that were touched."""
    page, stretches = heap.process.space.page, heap.stretches()
    pages = {number * page: data for number, (_, _, data, _) in heap.process.space.pages.items()}
    mine = [heap.words // page * page]
    mine += [at for at in pages if any(start < at + page and at < end for start, end in stretches)]
    return {at: bytes(pages.get(at, b"")) for at in mine}


def compare(before: Pages, after: Pages) -> None:
    for at in sorted(before.keys() | after.keys()):
        size = max(len(before.get(at, b"")), len(after.get(at, b"")))
        old, new = before.get(at, b"").ljust(size, b"\0"), after.get(at, b"").ljust(size, b"\0")
        if old != new:
            offset = next(i for i in range(0, size, 8) if old[i : i + 8] != new[i : i + 8])
            words = [hex(int.from_bytes(data[offset : offset + 8], "little")) for data in (old, new)]
            raise Wrong(f"U7  a request that failed changed the word at {at + offset:#x} from {words[0]} to {words[1]}")


@check("U7_break_stuck", "when the break cannot rise, a heap that maps goes on, and no heap is the worse for it")
def break_stuck(subject: Subject) -> str:
    """From the first call on, or some later one, as when something is mapped right above the break."""
    met = 0
    for k in (1, 2, 4):

        def stuck(steps: Steps, k: int = k) -> None:
            nonlocal met
            with telling(Play(subject.heap(frames=1 << 14))) as play:
                play.lines.append(f"the break rises {k - 1} times")
                play.heap.process.kernel.breaks.at(k)
                play.play(steps)
                walk_tiles(play)
                met += sum(map(bool, play.results))
                sound(play)

        frees = [Step("free", 5)] * 20
        for_story(subject, [*hungry(subject), *busy_day(24), *frees, *hungry(subject), Step("trim")], stuck)
    return f"{met} requests were met"


@check("U7_break_moves", "when somebody moves the break just before the heap does, every request is met all the same")
def break_moves(subject: Subject) -> None:
    """Then new memory does not join the old, as where the break is stuck and memory comes from mappings."""
    for k, once in subject.in_time([(1, True), (2, False), (2, True), (4, False)], 2):

        def elsewhere(steps: Steps, k: int = k, once: bool = once) -> None:
            with telling(Play(subject.heap(frames=1 << 14))) as play:
                play.lines.append(f"somebody moves the break before its {k}. rise{'' if once else ' and from then on'}")
                play.heap.process.kernel.intrusions.at(k, once)
                play_met(play, steps)

        larger = [*[Step("alloc", 0, 1 << 18, 1 << 18)] * 4, *(Step("alloc", 0, size) for size in LARGE)]
        frees = [Step("free", 5)] * 20
        for_story(subject, [*hungry(subject), *larger, *frees, *larger, Step("trim")], elsewhere)


def play_met(play: Play, steps: Steps) -> None:
    """Go on; there is memory for every request."""
    for step in steps:
        play.take(step)
        demand(play.results[-1:] != [0], "U7  the kernel gives memory, and the heap does not")
    walk_tiles(play)
    sound(play)


@check("U7_too_little", "memory that is too little does no harm, nor if the kernel does not take it back")
def too_little(subject: Subject) -> None:
    """As when somebody moved the break, so that a heap asks twice, and the second request is refused."""
    for k, taken_back in product((1, 2, 3), (False, True)):
        with telling(Play(subject.heap(frames=1 << 14))) as play:
            play.play([Step("alloc", 0, 40), Step("alloc", 0, 90_000), Step("free", 1), Step("foreign", 0, 24)])
            refuse(play, k, once=False)
            if not taken_back:
                play.heap.process.kernel.returns.at(1)
            play.take(Step("alloc", 0, 100_000))
            play.heap.process.kernel.calls.never()
            play.heap.process.kernel.returns.never()
            walk_tiles(play)
            play.take(Step("alloc", 0, 100_000))
            demand(play.results[-1] != 0, "U7  the kernel gives memory, and the heap does not")
            survey_agrees(play)
            sound(play)


# --- U7: what the kernel does not take back

SIZES = 40, 3000, 90_000, 300_000, 3 << 19, 3 << 20
MACHINE = {"page": 1 << 14, "frames": 1 << 14}  # room for segments of 64 MiB, in not too many pages


def generous() -> Iterator[Step]:
    """Blocks of which most are freed again, so that memory goes back: the ends and the middle of mappings, too."""
    for which, align in enumerate((16, 1 << 16, 1 << 17)):
        yield Step("thread", which)
        yield from (Step("alloc", 0, size, align) for size in SIZES)
        yield from (Step("realloc", 3, 200_000), Step("realloc", -1, 100), Step("zeroed", 0, 400_000))
        yield from (Step("free", which) for which in (2, -1, 3, 1, 2))
        yield from (Step("trim"), Step("thread_exit"))


def returns_to_refuse(subject: Subject) -> list[tuple[int, bool]]:
    """Which call that gives memory back to refuse, and whether that one only: at first, all of them."""
    heap = subject.heap(**MACHINE)
    heap.process.kernel.returns.at(1 << 30)
    Play(heap).play(generous())
    asked = (1 << 30) - heap.process.kernel.returns.left
    turns = [1, *random.Random(7).sample(range(2, asked + 1), asked - 1)] if asked else []
    return [(k, once) for once in (False, True) for k in turns]


@check("U7_nothing_taken_back", "when the kernel takes no memory back, at any call, all goes on and every block stays")
def nothing_taken_back(subject: Subject) -> str:
    asked = returns_to_refuse(subject)
    for k, once in subject.in_time(asked, 2):

        def kept(steps: Steps, k: int = k, once: bool = once) -> None:
            with telling(Play(subject.heap(**MACHINE))) as play:
                play.lines.append(f"the kernel takes no memory back the {k}. time{'' if once else ' and from then on'}")
                play.heap.process.kernel.returns.at(k, once)
                play_unreturned(play, steps)

        for_story(subject, list(generous()), kept)
    return f"{len(asked) // 2} calls give memory back"


def play_unreturned(play: Play, steps: Steps) -> None:
    """Go on while nothing goes back; then the kernel takes again what it is offered, and all goes on."""
    for wanted in (steps, [Step("trim")], steps):
        for step in wanted:
            if step.name == "trim":  # which may offer the kernel again what was kept
                play.heap.check()
            play.take(step)
            demand(play.results[-1:] != [0], "U7  the kernel gives memory, and the heap does not")
            all_intact(play)
        play.heap.check()
        survey_agrees(play)
        play.end()
        play.heap.check()
        if wanted is not steps:
            play.heap.process.kernel.returns.never()
            play.lines.append("the kernel takes memory back again")


# --- somebody else's break, other pages


@check("foreign_sbrk", "the program may move the break between requests, by odd amounts too")
def foreign_sbrk(subject: Subject) -> None:
    for_all_stories(subject, "foreign", *USUAL, FOREIGN, FOREIGN, each=blocks_are_disjoint, last=sound)


def sound(play: Play) -> None:
    all_intact(play)
    play.heap.check()
    play.end()
    play.heap.check()


@check("misaligned_break", "the break may lie anywhere when the heap begins")
def misaligned_break(subject: Subject) -> None:
    for offset in subject.in_time(MISALIGNED):

        def shifted(steps: Steps, offset: int = offset) -> None:
            with telling(Play(subject.heap())) as play:
                play.take(Step("foreign", 0, offset))
                play.play(steps)
                walk_tiles(play)
                sound(play)

        for_story(subject, busy_day(blocks=12), shifted)


@check("page_sizes", "pages of 16 and 64 KiB do as well as those of 4 KiB")
def page_sizes(subject: Subject) -> None:
    for page in subject.in_time((1 << 14, 1 << 16)):

        def paged(steps: Steps, page: int = page) -> None:
            with telling(Play(subject.heap(page=page, frames=1 << 11))) as play:
                play.lines.append(f"pages of {page} bytes")
                play.play(steps)
                play.take(Step("trim"))
                walk_tiles(play)
                sound(play)

        for_story(subject, busy_day(blocks=30), paged)


@check("lazy_memory", "memory that gets its frames only when it is touched is as good")
def lazy_memory(subject: Subject) -> None:
    def lazily(steps: Steps) -> None:
        with telling(Play(subject.heap(lazy=True))) as play:
            play.play(steps)
            sound(play)

    for_story(subject, busy_day(blocks=30), lazily)
