"""Can each numbered invariant's assert fire? Search for one word of a sound heap whose change makes it.

A checker that cannot be made to complain is a defect, or an invariant that no single word can break.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from heapwright.conformance.story import Play, Step, busy_day
from heapwright.conformance.subject import Subject
from heapwright.conformance.worlds import NUMBERED, invariants_of
from heapwright.machine import Fault, Heap
from heapwright.machine.memory import UNLIMITED
from heapwright.machine.shadow import ALLOCATOR, WRITTEN
from heapwright.spans import FREE, KINDS, UNUSED

BUDGET = 1000, 3  # accesses of one check: so many, and so many times those that it made before
MOST_OF_A_STRETCH = 400  # words that are tried, besides the heap's own
DELTAS = tuple(sign << log2 for log2 in (0, 1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 32, 40, 48, 56) for sign in (1, -1))
OTHERS = 24  # changes into another number that the heap has
MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Corruption:
    """One word of a heap, what it was and became, and the invariant whose assert noticed first."""

    invariant: str
    address: int
    where: str
    old: int
    new: int

    def __str__(self) -> str:
        return f"{self.invariant:<5} {self.where} at {self.address:#x}: {self.old:#x} became {self.new:#x}"


def find_corruptions(subject: Subject, seconds: float) -> dict[str, Corruption | None]:
    """For each numbered invariant a change of one word that its assert notices before any other; None if not found."""
    found: dict[str, Corruption | None] = dict.fromkeys(invariants_of(subject))
    until = time.monotonic() + seconds
    for corruption in corruptions(subject, until):
        if found.get(corruption.invariant, corruption) is None:
            found[corruption.invariant] = corruption
        if all(found.values()):
            break
    return found


def corruptions(subject: Subject, until: float) -> Iterator[Corruption]:
    """Changes that some numbered assert notices, of one heap and the other in turn, until the time is over."""
    waiting = [corruptions_of(Sample(play, number)) for number, play in enumerate(scenes(subject))]
    while waiting and time.monotonic() < until:
        for each in list(waiting):
            tried = next(each, None)
            if tried is None:
                waiting.remove(each)
            elif tried.invariant:
                yield tried


def scenes(subject: Subject) -> Iterator[Play]:
    """Heaps in different states: few blocks and many, small ones and large ones, of threads, in pieces."""
    small = [Step("alloc", 0, size) for size in (24, 24, 72, 24, 200, 24, 1000)]
    holes = [Step("free", i) for i in (0, 1, 2)]
    sizes = [Step("alloc", 0, size) for size in (24, 600, 3000, 24, 9000, 24, 40_000, 24, 140_000, 24, 300_000, 24)]
    switch = [Step("thread", 1), *small, Step("thread", 0)]
    every_other = [Step("free", i) for i in range(6)]
    for steps in (
        small + holes,
        sizes,
        sizes + every_other,
        sizes + [Step("free", 1)] * 8 + small,
        switch + holes,
        busy_day(),
        busy_day(20) + sizes + holes,
    ):
        play = Play(subject.heap())
        play.play(steps)
        yield play
    yield filled(Play(subject.heap()))


def filled(play: Play) -> Play:
    """A heap that was full to the last byte, and then grew."""
    play.take(Step("alloc", 0, 24))
    play.heap.process.kernel.calls.at(1)
    for _ in range(3):
        largest = max((size for _, size, kind in play.heap.spans() if kind in (FREE, UNUSED)), default=0)
        for header in (0, 8, 16, 32):
            play.take(Step("alloc", 0, max(largest - header, 0)))
    play.heap.process.kernel.calls.never()
    play.play([Step("alloc", 0, size) for size in (24, 600, 24)] + [Step("free", 0), Step("free", -2)])
    return play


class Sample:
    """One heap, the words in it that are the allocator's, and the numbers that stand in them."""

    def __init__(self, play: Play, number: int):
        self.heap, rng = play.heap, random.Random(number)
        self.own = list(range(self.heap.words, self.heap.words + self.heap.allocator.Heap.SIZE, 8))
        self.rest = list(self.words_of_stretches())
        rng.shuffle(self.rest)
        self.places = self.own[:MOST_OF_A_STRETCH] + self.rest[:MOST_OF_A_STRETCH]
        self.changes = [(place, change) for place in self.places for change in range(len(DELTAS) + 4 + OTHERS)]
        rng.shuffle(self.changes)
        self.spans = list(self.heap.spans())
        starts = {start for start, _, _ in self.spans[:MOST_OF_A_STRETCH]}
        self.numbers = sorted(starts | {value_of(self.heap, place) for place in self.places})

    def words_of_stretches(self) -> Iterator[int]:
        """Words that the allocator wrote, and nobody else since."""
        space = self.heap.process.space
        for start, end in self.heap.stretches():
            for number in sorted(n for n in space.pages if start < (n + 1) * space.page and n * space.page < end):
                first, codes = number * space.page, space.pages[number][3]
                wanted = bytes([ALLOCATOR | WRITTEN]) * 8
                yield from (first + i for i in range(0, space.page, 8) if codes[i : i + 8] == wanted)

    def changed(self, old: int, change: int) -> int:
        """The number that a word becomes by a change: a little more or less, nothing, or another one of the heap's."""
        if change < len(DELTAS):
            return signed(old + DELTAS[change])
        change -= len(DELTAS)
        if change < 4:
            return (0, -1, old ^ 1, ~old)[change]
        return self.numbers[(old // 8 + change) % len(self.numbers)]

    def where(self, address: int) -> str:
        if address < self.heap.process.heap_start:
            return f"word {(address - self.heap.words) // 8} of Heap"
        inside = (kind for start, size, kind in self.spans if start <= address < start + size)
        return f"a word of a span that is {KINDS[next(inside, 0)]},"


def corruptions_of(sample: Sample) -> Iterator[Corruption]:
    """Each change in turn, with the invariant that was noticed to be broken, or "" for none; then it is undone."""
    process, budget = sample.heap.process, BUDGET[0] + BUDGET[1] * accesses_of_check(sample.heap)
    for place, change in sample.changes:
        old = value_of(sample.heap, place)
        new = sample.changed(old, change)
        if new == old:
            continue
        process.poke(place, (new & MASK).to_bytes(8, "little"))
        label = first_broken(sample.heap, budget)
        process.poke(place, (old & MASK).to_bytes(8, "little"))
        yield Corruption(label, place, sample.where(place), old & MASK, new & MASK)


def value_of(heap: Heap, address: int) -> int:
    return int.from_bytes(heap.process.peek(address, 8), "little", signed=True)


def signed(number: int) -> int:
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def accesses_of_check(heap: Heap) -> int:
    heap.memory.left = UNLIMITED
    for start, end in heap.stretches():
        heap.allocator.check(heap.state, start, end)
    return UNLIMITED - heap.memory.left


def first_broken(heap: Heap, budget: int) -> str:
    """The label of the assert that fires first; "" if none does, or if `check` loses its way."""
    for start, end in heap.stretches():
        heap.memory.left = budget
        try:
            heap.allocator.check(heap.state, start, end)
        except Fault:
            return ""
        except AssertionError as error:
            label = NUMBERED.match(str(error))
            return label.group(1) if label else ""
        except Exception:  # noqa: BLE001  a broken heap may lead `check` anywhere
            return ""
        finally:
            heap.memory.left = UNLIMITED
    return ""
