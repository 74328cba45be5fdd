"""Requests at their limits: every alignment, every size, the largest block, junk, and order."""

from __future__ import annotations

import random

from heapwright.conformance.kernel import sound
from heapwright.conformance.registry import NotApplicable, check
from heapwright.conformance.stories import (
    ALLOC,
    FREE,
    USUAL,
    Steps,
    for_all,
    for_all_stories,
    for_story,
    steps_of,
)
from heapwright.conformance.story import Play, Step, busy_day, demand, with_story
from heapwright.conformance.subject import Subject
from heapwright.conformance.universal import addresses_are_aligned, all_intact, blocks_are_disjoint, walk_tiles
from heapwright.spans import FREE as FREE_SPAN
from heapwright.spans import UNUSED

LOG2_ALIGNS = range(21)
KIB, MIB = 1 << 10, 1 << 20
BIG = 1 * MIB
FEW_FRAMES = 5000
SPARE = 24  # frames: for page tables, and for the alignment of memory from another place than before
HOLES = 40
LARGE = (30_000, 70_000, 140_000, 300_000, 700_000, 1_500_000, 5_000_000)


@check("own_invariants", "the allocator's own numbered invariants hold after every request")
def own_invariants(subject: Subject) -> None:
    for_all_stories(subject, "own", *USUAL, each=lambda play: play.heap.check())


@check("alignments", "alignments from 1 to 2^20 are met, for small and large blocks among others")
def alignments(subject: Subject) -> None:
    def aligned(steps: Steps) -> None:
        with with_story(Play(subject.heap(frames=1 << 16))) as play:
            take_all(play, steps)
            addresses_are_aligned(play)
            sound(play)

    steps = [Step("alloc", 0, size, 1 << log2) for log2 in LOG2_ALIGNS for size in (0, 24, 5000)]
    steps += [Step("alloc", 0, (1 << log2) + d, 1 << log2) for log2 in LOG2_ALIGNS[:15] for d in (-1, 0, 1)]
    for_story(subject, with_frees(steps), aligned)


@check("sizes", "blocks have the requested size: each small size, and the sizes around powers of two")
def sizes(subject: Subject) -> None:
    def sized(steps: Steps) -> None:
        with with_story(Play(subject.heap(frames=1 << 16))) as play:
            take_all(play, steps)
            sound(play)

    step = 29 if subject.is_quick else 1
    powers = [(1 << log2) + d for log2 in range(9, 20) for d in ((-16, 0, 1) if subject.is_quick else range(-17, 18))]
    for_story(subject, with_frees([Step("alloc", 0, size) for size in (*range(0, 600, step), *powers)]), sized)


def with_frees(steps: Steps) -> list[Step]:
    """The steps, with a free of the oldest block after every third one."""
    return [each for i, step in enumerate(steps) for each in ((step, Step("free")) if i % 3 == 2 else (step,))]


def take_all(play: Play, steps: Steps) -> None:
    """Make requests that must all succeed."""
    for step in steps:
        play.take(step)
        demand(play.results[-1:] != [0], f"there was memory for {step.size} bytes aligned to {step.align}")


@check("large_blocks", "neighbouring blocks of up to some megabytes are resized, moved and freed")
def large_blocks(subject: Subject) -> None:
    def beside(steps: Steps) -> None:
        with with_story(Play(subject.heap(frames=1 << 15))) as play:
            for step in steps:
                play.take(step)
                blocks_are_disjoint(play)
            sound(play)

    for seed in range(1 if subject.is_quick else 20):
        for_story(subject, large_day(subject.rng(seed), rounds=4 if subject.is_quick else 8), beside)


def large_day(rng: random.Random, rounds: int) -> list[Step]:
    """Requests for at most ten large blocks at a time, some aligned to more than a page, with small ones between."""
    steps = [Step("alloc", 0, rng.choice(LARGE), rng.choice((16, 4096, 1 << 17))) for _ in range(6)]
    for _ in range(rounds):
        steps += [Step("realloc", rng.randrange(10), rng.choice(LARGE)), Step("free", rng.randrange(10))]
        steps += [Step("alloc", 0, 100), Step("alloc", 0, rng.choice(LARGE), rng.choice((16, 4096, 1 << 17)))]
        steps += [Step("realloc", rng.randrange(10), rng.choice(LARGE)), Step("free", rng.randrange(10))]
    return [*steps, Step("trim")]


@check("many_blocks", "hundreds of blocks are live at once, then few, then none")
def many_blocks(subject: Subject) -> None:
    def crowded(steps: Steps) -> None:
        with with_story(Play(subject.heap())) as play:
            for number, step in enumerate(steps):
                play.take(step)
                if number % 200 == 199:
                    play.heap.check()
            sound(play)

    rng = subject.rng(14)
    more, fewer = crowd(rng, 220), [Step("free", rng.randrange(1000)) for _ in range(200)]
    for_story(subject, [*more, *fewer[:100], *crowd(rng, 50), *fewer[100:], Step("trim"), *more[:20]], crowded)


def crowd(rng: random.Random, blocks: int) -> list[Step]:
    sizes = (16, 24, 24, 40, 72, 100, 200, 500, 1100, 5000, 20_000)
    return [Step("alloc", 0, rng.choice(sizes)) for _ in range(blocks)]


@check("largest_block", "when everything is freed, the largest block can be allocated again")
def largest_block(subject: Subject) -> str:
    maximum = largest(subject, 0, 2 * BIG)
    if maximum == 0:
        raise NotApplicable("it keeps no freed memory")

    def crowded(steps: Steps) -> None:
        with with_story(Play(subject.heap())) as play:
            prepare(play, spare=SPARE)
            play.play(steps)
            play.end()
            take_after_all(play, maximum)
            demand(
                play.results[-1],
                f"a block of {maximum:,} bytes could be allocated before, but not after everything was freed",
            )

    for_story(subject, busy_day(blocks=40), crowded)
    return f"{maximum:,} bytes, after {BIG:,} were freed"


@check(
    "holes_are_filled",
    "where blocks were freed, as many blocks of the same or a slightly smaller size need no more memory",
)
def holes_are_filled(subject: Subject) -> str:
    """Free blocks between live ones. A class may have no smaller blocks, and a good fit none of the same size."""
    more = [refilled(subject, hole, size) for hole in (700, 3000, 60_000) for size in (hole, hole * 15 // 16)]
    for same, less in zip(more[::2], more[1::2], strict=True):
        demand(min(same, less) <= 0, f"{min(same, less):,} bytes more are held than when the holes were blocks")
    return ", ".join(map(str, more))


def refilled(subject: Subject, hole: int, size: int) -> int:
    """The number of further bytes held after blocks of one size were freed and blocks of another allocated."""
    with with_story(Play(subject.heap(frames=1 << 14))) as play:
        play.play([Step("alloc", 0, each) for _ in range(HOLES) for each in (hole, 40)])
        held = play.heap.memory.held()
        play.play([Step("free", which) for which in range(HOLES)])
        play.play([Step("alloc", 0, size)] * HOLES)
        return play.heap.memory.held() - held


@check("last_byte", "a heap that is in use to its last byte is described correctly")
def last_byte(subject: Subject) -> str:
    """Request all that is free in one piece, or a few words less, because there may be a header."""
    first = Step("alloc", 0, 40)
    free = free_in_one_piece(subject, first)
    if free == 0:
        raise NotApplicable("it asks the kernel for no more than it needs")

    def full(steps: Steps) -> None:
        with with_story(Play(subject.heap())) as play:
            take_all(play, steps)
            walk_tiles(play)
            sound(play)

    for less in range(0, min(free, 80), 8):
        for_story(subject, [first, Step("alloc", 0, free - less), Step("free", 0)], full)
    return f"{free:,} bytes were free in one piece"


def free_in_one_piece(subject: Subject, first: Step) -> int:
    play = Play(subject.heap())
    play.take(first)
    return max((size for _, size, kind in play.heap.spans() if kind in (FREE_SPAN, UNUSED)), default=0)


def take_after_all(play: Play, size: int) -> None:
    """Request a block at once; if that fails, after the end of the thread, which may cache some; then after a trim."""
    play.take(Step("alloc", 0, size))
    if play.results[-1] == 0:
        play.lines.append("the thread ends")
        play.heap.thread_exit()
        play.take(Step("alloc", 0, size))
    if play.results[-1] == 0:
        play.play([Step("trim"), Step("alloc", 0, size)])


def prepare(play: Play, spare: int = 0) -> None:
    """Free a large block; from then on the kernel has only the frames that are in use, and a few spare ones."""
    play.play([Step("alloc", 0, BIG), Step("free")])
    frames = play.heap.process.kernel.frames
    frames.budget = frames.taken + frames.reserved + spare
    play.lines.append(f"the machine has {spare or 'no'} more frames")


def largest(subject: Subject, minimum: int, maximum: int) -> int:
    """The size of the largest block that a heap can allocate after `prepare`, or a little less; 0 if there is none."""
    while maximum - minimum > (KIB if subject.is_quick else 16):
        middle = (minimum + maximum) // 2
        play = Play(subject.heap())
        prepare(play)
        if play.heap.alloc(middle):
            minimum = middle
        else:
            maximum = middle
    return minimum


@check("junk", "old contents of memory make no difference, and the same requests get the same addresses")
def junk(subject: Subject) -> None:
    """The machine fills memory that is handed out or freed with junk; here it does so in one of two plays."""

    def twice(steps: list[Step]) -> None:
        clean = Play(subject.heap(junk=False))
        with with_story(Play(subject.heap(junk=True))) as play:
            play.play(steps)
            clean.play(steps)
            demand(play.results == clean.results, f"without the junk in freed blocks the addresses are {clean.lines}")

    for_all(subject, "junk", steps_of(*USUAL), twice)


@check("frees_in_any_order", "blocks can be freed in any order, and the heap is then as empty as it can be")
def any_order(subject: Subject) -> None:
    def shuffled(seed: int) -> None:
        rng = subject.rng(seed)
        with with_story(Play(subject.heap())) as play:
            for _ in range(8):
                play.take(Step("alloc", 0, rng.choice((16, 40, 100, 1000))))
            while play.blocks:
                play.take(Step("free", rng.randrange(len(play.blocks))))
            play.heap.check()

    for seed in range(3 if subject.is_quick else 60):
        shuffled(seed)


@check("exhaustion", "when the machine has no more memory, requests return 0, and freeing makes room again")
def exhaustion(subject: Subject) -> None:
    with with_story(Play(subject.heap(frames=FEW_FRAMES))) as play:
        while not play.results or play.results[-1]:
            play.take(Step("alloc", 0, 500 * KIB))
            demand(len(play.blocks) <= FEW_FRAMES // 125, f"{FEW_FRAMES} frames hold no more blocks of 125 pages")
        demand(play.blocks, f"not one block of 125 pages could be allocated from {FEW_FRAMES} frames")
        all_intact(play)
        play.heap.check()
        play.play([Step("free", len(play.blocks) // 2), Step("alloc", 0, 470 * KIB)])  # a good fit may miss 1/32
        demand(play.results[-1], "a freed block has no room for a block of 15/16 its size")
        play.end()
        play.heap.check()


@check("kept_memory_serves", "when the machine has no more memory, memory kept from freed blocks serves other sizes")
def kept_memory_serves(subject: Subject) -> None:
    if isinstance(subject.constant("RETAINS", None), str):
        raise NotApplicable("it returns nothing to the kernel")
    with with_story(Play(subject.heap(frames=FEW_FRAMES))) as play:
        had = [fill(play, size) for size in (50 * KIB, 3000, 50 * KIB)]
        demand(min(had[1:]) > had[0] * 3 // 4, f"filled again and again, the heap had room for {had} bytes")


def fill(play: Play, size: int) -> int:
    """Allocate until there is no more memory, free it all, and return the number of bytes."""
    had = 0
    while had == 0 or play.results[-1]:
        play.take(Step("alloc", 0, size))
        had += size
    play.end()
    return had


@check("again_and_again", "a heap that is used and emptied again and again stays sound")
def rounds(subject: Subject) -> None:
    def emptied(play: Play) -> None:
        play.end()
        play.heap.check()
        play.play([Step("alloc", 0, 24), Step("alloc", 0, 2000), Step("free", 0), Step("alloc", 0, 24)])
        play.end()
        play.heap.check()

    for_all_stories(subject, "rounds", ALLOC, ALLOC, FREE, last=emptied)
