"""Misuse: what an allocator says that it reports it reports, and what it reports it says.

DETECTS is a tuple of "double free", "double free at once", "foreign" and "interior"; nothing is promised without it.
A double free is one of a block that is free still, whatever was freed since; who says so reports it at once, too, when
nothing was: for that alone, a look at the newest free block is enough.
"""

from __future__ import annotations

from collections.abc import Callable

from heapwright.conformance.registry import check
from heapwright.conformance.story import Broken, Play, Step, draw
from heapwright.conformance.subject import Subject
from heapwright.machine import Fault, Kind
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN

WORDS = ("double free", "double free at once", "foreign", "interior")
SIZES = (24, 100, 1000, 5000, 60_000)
FOREIGN_SIZE = 1 << 18
BUDGET = 10_000  # accesses: a loop without end is as good a way as any not to notice

VARIANTS = range(3)
MANY = 20  # blocks: more than what a cache of sixteen takes

Misuse = Callable[[Play, int], int]  # prepares, given which variant, and gives the address to free


@check("double_free_at_once", "a block freed twice in a row is reported, or declared undetected")
def double_free_at_once(subject: Subject) -> str:
    def freed_before(play: Play, variant: int) -> int:
        block = play.blocks[variant]
        play.take(Step("free", variant))
        return block.address

    return judged(subject, "double free at once", freed_before)


@check("double_free", "a block freed again after others were is reported, or declared undetected")
def double_free(subject: Subject) -> str:
    def freed_before(play: Play, variant: int) -> int:
        """Free a block, then one beside it, or all others; of those, enough before it to fill a cache."""
        block = play.blocks[1]
        if variant == 2:
            play.play([Step("alloc", 0, block.size)] * 2 * MANY + [Step("free", 3)] * MANY)
        play.take(Step("free", 1))
        play.play([Step("free", variant)] if variant < 2 else [Step("free")] * len(play.blocks))
        return block.address

    return judged(subject, "double free", freed_before)


@check("foreign_free", "freeing memory that is none of the heap's is reported, or declared undetected")
def foreign_free(subject: Subject) -> str:
    def never_allocated(play: Play, variant: int) -> int:
        play.lines.append(f"mmap({FOREIGN_SIZE}), by the program")
        address = play.heap.process.user.mmap(FOREIGN_SIZE)
        open_to_the_allocator(play, address, FOREIGN_SIZE, contents(play)[variant])
        return address + FOREIGN_SIZE // 2 + 32

    return judged(subject, "foreign", never_allocated)


@check("interior_free", "freeing the inside of a block is reported, or declared undetected")
def interior_free(subject: Subject) -> str:
    def inside(play: Play, variant: int) -> int:
        block = play.blocks[1]
        open_to_the_allocator(play, block.address, block.size, contents(play)[variant])
        return block.address + 16

    return judged(subject, "interior", inside)


def open_to_the_allocator(play: Play, address: int, size: int, content: bytes) -> None:
    """Let the allocator look for a header where none of its bytes are, as compiled code would."""
    play.heap.process.poke(address, (content * (size // len(content) + 1))[:size])
    play.heap.process.space.shadow.add_bits(address, size, ALLOCATOR | USER | WRITTEN)


def contents(play: Play) -> tuple[bytes, ...]:
    """What may lie where no header is: zeros, text, and words that look like a block's header."""
    return bytes(16), b"A" * 16, play.heap.process.peek(play.blocks[0].address - 16, 16)


def judged(subject: Subject, word: str, misuse: Misuse) -> str:
    """Strict both ways: declared is reported at each size, and reported at each size is declared.

    A word that begins with a declared one is declared with it."""
    declared = subject.constant("DETECTS", ())
    unknown = [each for each in declared if each not in WORDS]
    if unknown:
        raise Broken(f"DETECTS has '{unknown[0]}': the words are {', '.join(WORDS)}")
    is_declared = any(word.startswith(each) for each in declared)
    tried = [misused(subject, size, misuse, variant) for size in SIZES for variant in VARIANTS]
    missed = [play for play in tried if play is not None]
    if is_declared and missed:
        raise Broken(f"'{word}' is in DETECTS and was not reported", missed[0].lines, draw(missed[0]))
    if not is_declared and not missed:
        raise Broken(f"'{word}' was reported each time: put it into DETECTS")
    if not missed:
        return "reported"
    return f"declared undetected; reported {len(tried) - len(missed)} times of {len(tried)}"


def misused(subject: Subject, size: int, misuse: Misuse, variant: int) -> Play | None:
    """The story of a misuse that nobody noticed; None if it was reported."""
    play = Play(subject.heap(budget=BUDGET))
    for _ in range(3):
        play.take(Step("alloc", 0, size))
    address = misuse(play, variant)
    play.lines.append(f"free({address:#x})")
    try:
        play.heap.dealloc(address, unchecked=True)
    except Fault as fault:
        return None if fault.kind == Kind.MISUSE and fault.who == "allocator" else play
    except Exception:  # noqa: BLE001  a heap that is misused may do anything
        return play
    return play
