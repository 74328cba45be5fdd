"""Misuse: an allocator reports exactly what it declares.

DETECTS is a tuple of "double free", "double free at once", "foreign", "interior", "wrong size" and "copy"; without it
nothing is promised.
A double free frees a block that is still free, whatever was freed since. "double free" therefore includes "double free
at once", where nothing was freed in between; for that alone, comparing with the newest free block is enough.

UNMAPS is a size: blocks of this size or more may be unmapped when they are freed. A second free may then load from
unmapped memory. That is not silent either, because it ends the program.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from heapwright.conformance.registry import check
from heapwright.conformance.story import Broken, Play, Step, draw
from heapwright.conformance.subject import ROOMY, Subject
from heapwright.machine import Fault, Heap, Kind
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN

WORDS = ("double free", "double free at once", "foreign", "interior", "wrong size", "copy")
KIB, MIB = 1 << 10, 1 << 20
FOREIGN_SIZE = 1 << 18
BUDGET = 10_000  # accesses: an endless loop counts as not reported
MANY = 20  # blocks: more than a cache of sixteen takes
MAX_MANY = 60_000  # bytes: that many larger blocks would need another machine
MAX_FILLED = MIB  # bytes of a block that are filled
MAX_COPIED_TO = 512 * KIB - 8  # bytes: only so large a block must know how many it has
USUAL: dict[str, Any] = {}
LARGE: dict[str, Any] = {**ROOMY, "lazy": True, "junk": False}  # large blocks are not written
HEADER = 16


class Case(NamedTuple):
    """The kind of blocks to misuse. The cases with `is_quick` expose most wrong allocators."""

    size: int
    align: int = 16
    is_quick: bool = False

    @property
    def options(self) -> dict[str, Any]:
        return USUAL if max(self) <= MAX_MANY else LARGE


CASES = (
    *(Case(24, is_quick=True), Case(100), Case(1000, is_quick=True), Case(5000), Case(MAX_MANY, is_quick=True)),
    *(Case(100, 64, is_quick=True), Case(1000, 4 * KIB), Case(5000, 4 * KIB, is_quick=True), Case(24, 64 * KIB)),
    *(Case(100_000), Case(200_000, 64 * KIB), Case(300_000, is_quick=True), Case(MIB, 64), Case(3 * MIB)),
    *(Case(5 * MIB, 64 * KIB, is_quick=True), Case(33 * MIB), Case(64 * MIB, is_quick=True), Case(64 * MIB, 64 * KIB)),
)

Misuse = Callable[[Play, Case], int]  # prepares; returns the address to free or to resize
Call = Callable[[Play, Case, int], None]  # frees or resizes it
Tries = tuple[tuple[Case, Misuse], ...]


# --- double frees


def one_of_three(which: int) -> Misuse:
    """Free one of three blocks; its neighbours are in use, or memory that the heap has not handed out."""

    def freed_before(play: Play, case: Case) -> int:
        block = play.blocks[which]
        play.take(Step("free", which))
        return block.address

    return freed_before


def beside(*others: int) -> Misuse:
    """Free the block before, the block behind, or both, and then the block that may merge with them."""

    def freed_before(play: Play, case: Case) -> int:
        block, neighbours = play.blocks[1], [play.blocks[which] for which in others]
        for each in (*neighbours, block):
            play.take(Step("free", play.blocks.index(each)))
        return block.address

    return freed_before


def then(*others: int) -> Misuse:
    """Free a block, then the block before it, the block behind it, or both."""

    def freed_before(play: Play, case: Case) -> int:
        block = play.blocks[1]
        play.take(Step("free", 1))
        play.play(Step("free", which) for which in others)
        return block.address

    return freed_before


def then_many(play: Play, case: Case) -> int:
    """Free enough blocks to fill a cache, then this one, and then all others."""
    block = play.blocks[1]
    if case.size <= MAX_MANY:
        play.play([Step("alloc", 0, block.size, block.align)] * 2 * MANY + [Step("free", 3)] * MANY)
    play.take(Step("free", 1))
    play.play([Step("free")] * len(play.blocks))
    return block.address


def warmed(misuse: Misuse) -> Misuse:
    """The same misuse after enough blocks of the size came and went that a cache keeps the next."""

    def after_many(play: Play, case: Case) -> int:
        if case.size <= MAX_MANY:
            play.play([Step("alloc", 0, case.size, case.align), Step("free", 3)] * 2 * MANY)
        return misuse(play, case)

    return after_many


AT_ONCE = (warmed(one_of_three(1)), *map(one_of_three, range(3)), beside(0), beside(2), beside(0, 2))
LATER = (then(0), then(1), then_many)


@check("double_free_at_once", "a block freed twice in a row is reported, or declared undetected")
def double_free_at_once(subject: Subject) -> str:
    return judged(subject, "double free at once", AT_ONCE)


@check("double_free", "a block freed again after others were is reported, or declared undetected")
def double_free(subject: Subject) -> str:
    return judged(subject, "double free", LATER)


# --- addresses without a block


def in_a_mapping(offset: int, content: int) -> Misuse:
    """An address in memory that the program mapped itself."""

    def never_allocated(play: Play, case: Case) -> int:
        play.lines.append(f"mmap({FOREIGN_SIZE}), by the program")
        address = play.heap.process.user.mmap(FOREIGN_SIZE)
        open_to_the_allocator(play.heap, address, FOREIGN_SIZE, contents(play)[content])
        return address + offset

    return never_allocated


def on_the_stack(play: Play, case: Case) -> int:
    """An address in the middle of the program's stack, all of whose memory may be read."""
    space = play.heap.process.space
    space.shadow.add_bits(space.data, space.guard - space.data, ALLOCATOR)
    stack = space.guard + space.page
    open_to_the_allocator(play.heap, stack, space.heap_start - stack, bytes(HEADER))
    return stack + (space.heap_start - stack) // 2


def in_the_text(play: Play, case: Case) -> int:
    """The address of a literal in the program's text."""
    return 32


MIDDLE = FOREIGN_SIZE // 2 + 2 * HEADER
FOREIGN = (
    *(in_a_mapping(MIDDLE, 0), in_a_mapping(MIDDLE, 1), in_a_mapping(MIDDLE, 2)),
    *(in_a_mapping(0, 0), in_a_mapping(HEADER, 2), on_the_stack, in_the_text),
)


@check("foreign_free", "freeing memory that is not the heap's is reported, or declared undetected")
def foreign_free(subject: Subject) -> str:
    return judged(subject, "foreign", FOREIGN, CASES[:3])


def inside(part: float, content: int) -> Misuse:
    """An address inside a block: HEADER bytes into it, or at a fraction of its size."""

    def within(play: Play, case: Case) -> int:
        block = play.blocks[1]
        offset = max(int(block.size * part) & -HEADER, HEADER)
        end = min(block.size, MAX_FILLED)
        open_to_the_allocator(play.heap, block.address, end, contents(play)[content])
        open_to_the_allocator(play.heap, block.address + end, block.size - end, b"")
        return block.address + offset

    return within


INSIDE = (warmed(inside(0, 1)), inside(0, 0), inside(0, 1), inside(0, 2), inside(0.5, 1), inside(0.9, 2))


@check("interior_free", "freeing the inside of a block is reported, or declared undetected")
def interior_free(subject: Subject) -> str:
    return judged(subject, "interior", INSIDE)


def open_to_the_allocator(heap: Heap, address: int, size: int, content: bytes) -> None:
    """Let the allocator read bytes that are not its own as a header, as compiled code would."""
    if content:
        heap.process.poke(address, (content * (size // len(content) + 1))[:size])
    heap.process.space.shadow.add_bits(address, size, ALLOCATOR | USER | WRITTEN)


def contents(play: Play) -> tuple[bytes, ...]:
    """Possible contents where no header is: zeros, text, and words that look like a block's header."""
    return bytes(HEADER), b"A" * HEADER, play.heap.process.peek(play.blocks[0].address - HEADER, HEADER)


# --- sizes


def live(play: Play, case: Case) -> int:
    """A live block."""
    return play.blocks[1].address


def free_as(factor: float) -> Call:
    """A free by a caller that says a multiple of the block's size."""

    def free_so(play: Play, case: Case, address: int) -> None:
        size, functions = int(case.size * factor), play.heap.allocator.module
        play.lines.append(f"dealloc({address:#x}, {size})")
        play.heap.dealloc_by(lambda state: functions.dealloc(state, address, size, case.align), address)

    return free_so


@check("wrong_size", "a caller that frees a block with a wrong size is reported, or that is declared undetected")
def wrong_size(subject: Subject) -> str:
    is_declared = "wrong size" in subject.constant("DETECTS", ())
    return judged(subject, "wrong size", (live,), CASES if is_declared else CASES[:3], (free_as(0.5), free_as(2)))


# --- copies


def copy_of(more: int) -> Call:
    """A copy to a block, of more bytes than it has."""

    def copy_so(play: Play, case: Case, address: int) -> None:
        play.lines.append(f"expect_room({address:#x}, {case.size + more})")
        play.heap.allocator.expect_room(play.heap.state, address, case.size + more)

    return copy_so


@check("copies", "a caller that is about to copy more than a block has room for is reported, if that is declared")
def copies(subject: Subject) -> str:
    if "copy" not in subject.constant("DETECTS", ()):
        return "declared undetected"
    cases = tuple(case for case in CASES if case.size <= MAX_COPIED_TO)
    return judged(subject, "copy", (live,), cases, (copy_of(1), copy_of(MIB)))


# --- judging


def judged(
    subject: Subject,
    word: str,
    misuses: tuple[Misuse, ...],
    cases: tuple[Case, ...] = CASES,
    calls: tuple[Call, ...] | None = None,
) -> str:
    """Be strict both ways: a declared misuse is reported at each size, and one reported at each size is declared.

    A word that begins with a declared word is declared with it. A layer may notice what the heap below does not."""
    declared = subject.constant("DETECTS", ())
    unknown = [each for each in declared if each not in WORDS]
    if unknown:
        raise Broken(f"DETECTS has '{unknown[0]}': the words are {', '.join(WORDS)}")
    tries = tuple(product((case for case in cases if case.is_quick or not subject.is_quick), misuses))
    if any(word.startswith(each) for each in declared):
        return detected(subject, word, tries, calls or (free, *RESIZES))
    reported = [misused(subject, *each, call) is None for each in tries for call in calls or (free,)]
    if all(reported) and len(subject.allocator.parts) == 1:
        raise Broken(f"'{word}' was reported each time: put it into DETECTS")
    return "reported" if all(reported) else f"declared undetected; reported {sum(reported)} times of {len(reported)}"


def detected(subject: Subject, word: str, tries: Tries, calls: tuple[Call, ...]) -> str:
    """Smaller blocks first, and the first miss ends it: a machine that copies 64 MiB needs a gigabyte."""
    for (case, misuse), call in product(tries, calls):
        missed = misused(subject, case, misuse, call)
        if missed is not None:
            raise Broken(f"'{word}' is in DETECTS and was not reported", missed.lines, draw(missed))
    return "reported"


def free(play: Play, case: Case, address: int) -> None:
    play.lines.append(f"free({address:#x})")
    play.heap.dealloc(address, unchecked=True)


def resize_by(factor: float) -> Call:
    """A `realloc` to a multiple of the block's size."""

    def resize(play: Play, case: Case, address: int) -> None:
        new_size = int(case.size * factor)
        play.lines.append(f"realloc({address:#x}, {new_size})")
        play.heap.realloc(address, new_size, unchecked=True)

    return resize


RESIZES = tuple(map(resize_by, (0.25, 1, 2)))


def misused(subject: Subject, case: Case, misuse: Misuse, call: Call) -> Play | None:
    """The story of a misuse that was not reported; None if it was."""
    play = Play(subject.heap(**{"budget": BUDGET, **case.options}))
    for _ in range(3):
        play.take(Step("alloc", 0, case.size, case.align))
    if len(play.blocks) < 3:
        raise Broken(f"three blocks of {case.size} bytes could not be allocated", play.lines)
    address = misuse(play, case)
    try:
        call(play, case, address)
    except Fault as fault:
        return None if is_noticed(subject, case, fault) else play
    except Exception:  # noqa: BLE001  a heap that is misused may do anything
        return play
    return play


def is_noticed(subject: Subject, case: Case, fault: Fault) -> bool:
    """Whether the allocator reported it, or touched memory that it had unmapped and UNMAPS allows that."""
    unmaps = subject.constant("UNMAPS", None)
    may_touch = unmaps is not None and case.size + case.align >= unmaps
    kinds = (Kind.MISUSE, Kind.UNMAPPED) if may_touch else (Kind.MISUSE,)
    return fault.kind in kinds and fault.who == "allocator"
