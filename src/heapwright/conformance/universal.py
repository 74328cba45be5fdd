"""The properties of every heap, whatever its design: U1 to U14."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from heapwright.conformance.registry import check
from heapwright.conformance.stories import (
    ALLOC,
    FOREIGN,
    FREE,
    REALLOC,
    TRIM,
    USABLE,
    USUAL,
    ZEROED,
    Steps,
    for_all_stories,
    for_story,
)
from heapwright.conformance.story import Broken, Held, Play, Step, busy_day, demand, with_story
from heapwright.conformance.subject import Subject
from heapwright.machine import Heap, Process
from heapwright.machine.tiling import check_cover
from heapwright.spans import KINDS, USED

MIN_ALIGN = 16
MAX_WORD = (1 << 63) - 1
ABSURD = (-1, -(1 << 63), 1 << 40, 1 << 61, (1 << 62) - 1, 1 << 62, MAX_WORD - 4096, MAX_WORD - 16, MAX_WORD)
CLASS_SIZES = (1, *range(0, 300, 7), *(size + d for size in (512, 1024, 2048, 4096, 8192, 16384) for d in (-1, 0, 1)))


# --- U1 to U4: the blocks


@check("U1_alignment", "every address is a multiple of the requested alignment and of 16")
def alignment(subject: Subject) -> None:
    for_all_stories(subject, "U1", ALLOC, ZEROED, FREE, REALLOC, each=addresses_are_aligned)


def addresses_are_aligned(play: Play) -> None:
    for block in play.blocks:
        align = max(block.align, MIN_ALIGN)
        demand(block.address % align == 0, f"U1  {block} does not lie at a multiple of {align}")


@check("U2_containment", "every block lies in memory that the allocator got from the kernel")
def containment(subject: Subject) -> None:
    for_all_stories(subject, "U2", each=blocks_are_contained)


def blocks_are_contained(play: Play) -> None:
    extents = play.heap.extents()
    for block in play.blocks:
        inside = any(start <= block.address and block.end <= end for start, end in extents)
        demand(inside, f"U2  {block} is not inside one of {spelt(extents)}")


def spelt(extents: list[tuple[int, int]]) -> str:
    return ", ".join(f"[{start:#x}, {end:#x})" for start, end in extents) or "no extent at all"


@check("U3_disjointness", "blocks overlap neither each other nor memory that walk says is not in use")
def disjointness(subject: Subject) -> None:
    for_all_stories(subject, "U3", each=blocks_are_disjoint, last=others_hold_no_block)


def in_order(play: Play) -> list[Held]:
    return sorted(play.blocks, key=lambda block: (block.address, block.size))


def blocks_are_disjoint(play: Play) -> None:
    for lower, upper in pairwise(in_order(play)):
        apart = lower.address != upper.address and lower.end <= upper.address
        demand(apart, f"U3  {lower} and {upper} overlap")


def others_hold_no_block(play: Play) -> None:
    blocks = [block for block in play.blocks if block.size]
    for start, size, kind in play.heap.spans() if blocks else ():
        for block in blocks if kind != USED else ():
            apart = block.end <= start or start + size <= block.address
            demand(apart, f"U3  {block} lies in a span that is {KINDS[kind]}, {size} bytes at {start:#x}")


@check(
    "U4_usable_size",
    "usable_size is at least the requested size, never changes, and all of it is the owner's",
    traits=["usable_size"],
)
def usable(subject: Subject) -> None:
    for_all_stories(subject, "U4", ALLOC, FREE, USABLE, each=usable_sizes_stay)


def usable_sizes_stay(play: Play) -> None:
    if not play.lines or not play.lines[-1].startswith("usable_size"):
        return
    for block in play.blocks:
        before = block.size
        block.size = play.heap.usable_size(block.address)
        demand(block.size >= before, f"U4  usable_size of {block} was {before}")
        play.heap.user.fill(block.address, block.size, 0x5A)
        play.write(block)
        again = play.heap.usable_size(block.address)
        demand(again == block.size, f"U4  usable_size of {block} became {again} when its owner wrote to it")


# --- U5: every byte is accounted for


@check("U5_conservation", "walk tiles the heap exactly, and every byte is accounted for")
def conservation(subject: Subject) -> str:
    accounts: list[Account] = []

    def account(play: Play) -> None:
        accounts.append(Account(play))

    for_all_stories(subject, "U5", *USUAL, FOREIGN, each=walk_tiles, last=account)
    return str(max(accounts, key=lambda each: each.payload, default="no memory was asked for"))


def walk_tiles(play: Play) -> None:
    for start, end, spans in play.heap.walked():
        check_cover(play.heap.broken, start, end, spans)


class Account:
    """The bytes of a heap by use: held = payload + rounding and headers + free + cached + own + unused."""

    def __init__(self, play: Play):
        heap = play.heap
        by_kind: Counter[str] = Counter()
        for _, size, kind in heap.spans():
            by_kind[KINDS[kind]] += size
        self.held, self.by_kind = sum(end - start for start, end in heap.extents()), by_kind
        self.payload = sum(block.size for block in play.blocks)
        self.usable = sum(usable_of(heap, block) for block in play.blocks)
        demand(by_kind.total() == self.held, f"U5  the spans sum to {by_kind.total()} bytes of {self.held} held")
        demand(self.usable <= by_kind["used"], f"U5  {self.usable} usable bytes are in {by_kind['used']} used ones")

    def __str__(self) -> str:
        parts = {"payload": self.payload, "rounding": self.usable - self.payload,
                 "headers": self.by_kind["used"] - self.usable,
                 **{kind: self.by_kind[kind] for kind in KINDS if kind != "used"}}  # fmt: skip
        return f"{self.held:,} held = " + " + ".join(f"{size:,} {kind}" for kind, size in parts.items() if size)


def usable_of(heap: Heap, block: Held) -> int:
    """The usable bytes of a block; the requested size if the allocator has no `usable_size`."""
    return heap.usable_size(block.address) if heap.allocator.has_usable_size else block.size


# --- U6: contents


@check("U6_contents", "a block's bytes change only when its owner writes them")
def contents(subject: Subject) -> None:
    for_all_stories(subject, "U6", each=all_intact)


def all_intact(play: Play) -> None:
    for block in play.blocks:
        play.intact(block)


@check("U6_realloc_keeps_the_prefix", "realloc keeps the bytes that both sizes have, wherever the block moves")
def realloc_keeps(subject: Subject) -> None:
    def grow_and_shrink(play: Play) -> None:
        for block in list(play.blocks):
            for size in (block.size * 5 // 4, block.size * 2 + 1, block.size // 2, block.size + 5000, 1):
                resize(play, block, size)

    for_all_stories(subject, "U6r", ALLOC, FREE, last=grow_and_shrink)


def resize(play: Play, block: Held, size: int) -> None:
    """Resize a block that is full of its pattern, and compare all bytes."""
    data = block.pattern(block.size)
    play.heap.process.poke(block.address, data)
    play.lines.append(f"{block.name} = realloc({block.name}, {size})")
    address = play.heap.realloc(block.address, size)
    play.answered(address)
    demand(address != 0, f"U6  there was memory for {size} bytes")
    kept = min(size, block.size)
    block.address, block.size = address, size
    demand(play.heap.process.peek(address, kept) == data[:kept], f"U6  realloc changed a byte of the first {kept}")
    play.write(block)


@check("U6_zeroed", "alloc_zeroed returns zeros, also where another block lay")
def zeroed(subject: Subject) -> None:
    for_all_stories(subject, "U6z", ALLOC, ZEROED, ZEROED, FREE, FREE)  # the machine compares each byte


# --- U7 is in kernel.py


# --- U8 and U9: free memory


@check("U8_free_memory", "free memory is handed out once, and then there is no more")
def free_memory(subject: Subject) -> None:
    for_all_stories(subject, "U8", ALLOC, FREE, FREE, REALLOC, last=drain)


def drain(play: Play) -> None:
    """Allocate all memory while the kernel gives none; the machine checks that no byte is handed out twice."""
    play.lines.append("the kernel gives no more memory")
    play.heap.process.kernel.calls.at(1)
    maximum = play.heap.memory.held() // MIN_ALIGN + 1
    before = len(play.blocks)
    for size in (3000, 100, 16):
        while play.heap.alloc(size) != 0:
            demand(
                len(play.heap.live) - before <= maximum,
                f"U8  {maximum} blocks of {size} bytes are more than there is room for",
            )
    play.heap.process.kernel.calls.never()
    blocks_are_disjoint(play)
    all_intact(play)


@check("U9_used_or_free", "walk reports each live block as used, and nothing else")
def used_or_free(subject: Subject) -> None:
    for_all_stories(subject, "U9", last=lambda play: play.heap.check(), each=used_is_live)


def used_is_live(play: Play) -> None:
    used = [(start, start + size) for start, size, kind in play.heap.spans() if kind == USED]
    for block in play.blocks:
        held = any(start <= block.address and block.end <= end for start, end in used)
        demand(held, f"U9  no used span holds {block}")
    for start, end in used:
        held = any(start <= block.address <= end for block in play.blocks)
        demand(held, f"U9  the used span [{start:#x}, {end:#x}) holds no live block")


# --- U10 to U12: sizes


@check("U10_size_classes", "classes rise with the size, hold it, and are their own class", traits=["usable_size"])
def size_classes(subject: Subject) -> str:
    sizes = subject.rng(10).sample(CLASS_SIZES, len(CLASS_SIZES))
    granted: dict[int, int] = {}
    for size in subject.in_time(sizes):
        usable = granted[size] = granted_by(subject, size)
        if usable < size:
            raise_wrong(subject, size, f"U10  a block of {size} bytes has room for {usable}")
        if granted_by(subject, usable) != usable:
            raise_wrong(subject, usable, f"U10  the {usable} bytes granted for {size} are granted more when asked for")
    for low, high in pairwise(sorted(granted)):
        if granted[low] > granted[high]:
            raise_wrong(subject, high, f"U10  {low} bytes get {granted[low]}, but {high} get {granted[high]}")
    waste = max((usable - size) / max(size, 256) for size, usable in granted.items())
    return f"at most {waste:.0%} rounding above 256 bytes, in {len(granted)} sizes"


def granted_by(subject: Subject, size: int) -> int:
    """The usable size of the first block of a fresh heap."""
    play = Play(subject.heap())
    play.play([Step("alloc", 0, size), Step("usable")])
    return play.results[-1]


def raise_wrong(subject: Subject, size: int, what: str) -> None:
    with with_story(Play(subject.heap())) as play:
        play.take(Step("alloc", 0, size))
        play.take(Step("usable"))
        demand(False, what)


@check("U11_zero_size", "a block of no bytes has a distinct address, and can be resized and freed")
def zero_size(subject: Subject) -> None:
    with with_story(Play(subject.heap())) as play:
        for align in (16, 16, 1, 64, 4096, 16):
            play.take(Step("alloc", 0, 0, align))
        play.take(Step("zeroed"))
        demand(all(play.results), "U11  a request for no bytes got none")
        for size in (40, 0):
            for which in range(4):
                play.take(Step("realloc", which, size))
                demand(play.results[-1], f"U11  realloc to {size} bytes gave no block")
        addresses = [block.address for block in play.blocks]
        demand(len(set(addresses)) == len(addresses), "U11  two blocks of no bytes lie at one address")
        play.heap.check()
        play.end()
        play.heap.check()


@check("U12_absurd_sizes", "absurd sizes and alignments, negative ones too, return 0 and change nothing")
def absurd_sizes(subject: Subject) -> None:
    with with_story(Play(subject.heap())) as play:
        play.play([Step("alloc", 0, 100), Step("alloc", 0, 5000)])
        held = []
        for _ in range(2):
            ask_absurdly(play)
            held.append(play.heap.memory.held())
        demand(held[0] == held[1], f"U12  requests that fail keep more memory each time: {held}")
        all_intact(play)
        play.heap.check()
        play.end()


def ask_absurdly(play: Play) -> None:
    for size in ABSURD:
        wanted = (Step("alloc", 0, size), Step("alloc", 0, size, 1 << 20), Step("zeroed", 0, size))
        for step in (*wanted, Step("realloc", 0, size)):
            play.take(step)
            demand(play.results[-1] == 0, f"U12  {step.name} of {size} bytes did not fail")
    for align in (1 << 45, 1 << 62):
        play.take(Step("alloc", 0, 16, align))
        demand(play.results[-1] == 0, f"U12  an alignment of {align} was met")


# --- U13 and U14: memory from the kernel


@check("U13_kernel_account", "the heap holds exactly the memory that sbrk, mmap and munmap gave and did not take back")
def kernel_account(subject: Subject) -> None:
    ledgers: list[Ledger] = []

    def watched() -> Heap:
        heap = subject.heap()
        ledgers.append(Ledger(heap.process))
        return heap

    def balanced(play: Play) -> None:
        survey_agrees(play)
        given, held = ledgers[-1].held, play.heap.memory.held()
        demand(given == held, f"U13  the kernel gave {given} bytes, but the machine says {held}")

    for_all_stories(subject, "U13", *USUAL, TRIM, last=balanced, make=watched)


def survey_agrees(play: Play) -> None:
    extents = sum(end - start for start, end in play.heap.extents())
    said = play.heap.survey()["heap_bytes"]
    demand(extents == said, f"U13  the extents have {extents}, survey says {said}")


class Ledger:
    """The bytes that the kernel gave to an allocator, call by call."""

    def __init__(self, process: Process):
        self.held, self.page = 0, process.space.page
        process.observe(call=self.note)

    def note(self, name: str, given: tuple[int, ...], result: int, who: str) -> None:
        if result == -1 or who != "allocator":
            return
        if name == "sbrk":
            self.held += given[0]
        elif name == "mmap":
            self.held += self.whole(given[0])
        elif name == "munmap":
            self.held -= self.whole(given[1])
        elif name == "mremap":
            self.held += self.whole(given[2]) - self.whole(given[1])

    def whole(self, size: int) -> int:
        return -(-size // self.page) * self.page


ROUNDS = 3


@check("U14_quiescence", "when everything is freed, nothing is live, and the heap does not keep more each time")
def quiescence(subject: Subject) -> str:
    """After free and trim the heap keeps at most `RETAINS` bytes, or as its sentence says, and not more each round."""
    figures: list[str] = []
    bound = subject.constant("RETAINS", None)
    if not isinstance(bound, int | str):
        raise Broken("U14  RETAINS is not declared: the most bytes that are kept, or a sentence why there is no limit")

    def rounds(day: Steps) -> None:
        with with_story(Play(subject.heap())) as play:
            play.take(Step("trim"))
            kept = [kept_after(play, day) for _ in range(ROUNDS)]
            if not isinstance(bound, str):
                demand(kept[-1] <= bound, f"U14  {kept[-1]:,} bytes are kept, more than the {bound:,} of RETAINS")
            demand(kept[-1] <= kept[-2], f"U14  each round keeps more: {kept}")
            said = bound if isinstance(bound, str) else f"at most {bound:,}"
            figures.append(f"{kept[-1]:,} bytes kept of {play.heap.memory.peak_held():,}: {said}")

    for_story(subject, busy_day(), rounds)
    return figures[0]


def kept_after(play: Play, day: Steps) -> int:
    """The bytes held when all blocks of a day are freed and the heap is trimmed."""
    play.play(day)
    play.end()
    used = [span for span in play.heap.spans() if span[2] == USED]
    demand(not used, f"U14  {len(used)} spans are in use when everything is freed")
    play.take(Step("trim"))
    play.heap.check()
    return play.heap.memory.held()
