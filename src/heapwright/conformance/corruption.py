"""A search for proof that each numbered invariant's assert can fire: one number of a sound heap whose change does it.

An assert that never fires is a defect of `check`, or its invariant cannot be broken by one number. A number that
`check` never reads cannot make it fire, so the search changes numbers that it reads. Each line that reads gets its
turn: one may read a single number, another a thousand, and each serves an invariant.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle

from heapwright.conformance.story import Play, Step, busy_day
from heapwright.conformance.subject import ROOMY, Subject
from heapwright.conformance.worlds import invariants_of
from heapwright.describe import invariant
from heapwright.machine import Fault, Heap
from heapwright.machine.accesses import Access, access_at_work
from heapwright.machine.checked import UNLIMITED
from heapwright.spans import FREE, UNUSED

BUDGET = 1000, 3  # accesses of one check: a constant, plus a multiple of those on the sound heap
TURN = 10_000  # accesses of the checks of each heap before the next heap is started
BITS = 0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 32, 48  # flags, units, sizes, and distant addresses


@dataclass(frozen=True, slots=True)
class Corruption:
    """A change of one number of a heap, and the invariant whose assert fired first."""

    invariant: str
    address: int
    where: str
    old: int
    new: int

    def __str__(self) -> str:
        return f"{self.invariant:<5} {self.where} at {self.address:#x}: {self.old:#x} became {self.new:#x}"


def find_corruptions(subject: Subject, seconds: float) -> dict[str, Corruption | None]:
    """For each numbered invariant, a change that makes its assert fire first; None if none was found.

    The seconds are of processor time.
    """
    found: dict[str, Corruption | None] = dict.fromkeys(invariants_of(subject))
    until = time.process_time() + seconds
    for corruption in corruptions(subject, until):
        if found.get(corruption.invariant, corruption) is None:
            found[corruption.invariant] = corruption
        if all(found.values()):
            break
    return found


def corruptions(subject: Subject, until: float) -> Iterator[Corruption]:
    """Changes that make a numbered assert fire, until the time is over; the same ones each time.

    All heaps that were started get equal work. Another heap is started when each has had its turn.
    """
    waiting = scenes(subject)
    samples: list[Sample] = []
    streams: list[Iterator[Corruption]] = []
    spent: list[int] = []  # accesses
    while time.process_time() < until:
        if min(spent, default=TURN) >= TURN and (play := next(waiting, None)):
            samples.append(Sample(play, number=len(samples)))
            streams.append(corruptions_of(samples[-1]))
            spent.append(0)
        minimum = spent.index(min(spent))
        tried = next(streams[minimum])
        spent[minimum] += samples[minimum].accesses
        if tried.invariant:
            yield tried


# --- the heaps


def scenes(subject: Subject) -> Iterator[Play]:
    """Heaps in different states: with few or many blocks, small or large, of several threads, fragmented, empty."""
    small = [Step("alloc", 0, size) for size in (24, 24, 72, 24, 200, 24, 1000)]
    holes = [Step("free", i) for i in (0, 1, 2)]
    sizes = [Step("alloc", 0, size) for size in (24, 600, 3000, 24, 9000, 24, 40_000, 24, 140_000, 24, 300_000, 24)]
    every_other = [Step("free", i) for i in range(6)]
    for steps in (
        small + holes,
        sizes,
        [*small, *sizes, *[Step("free", 0)] * (len(small) + len(sizes))],
        sizes + every_other,
        sizes + [Step("free", 1)] * 8 + small,
        [*sizes, Step("foreign", 0, 64), *[Step("alloc", 0, 100_000)] * 3, *small, *holes],
        busy_day(),
        busy_day(20) + sizes + holes,
    ):
        play = Play(subject.heap())
        play.play(steps)
        yield play
    for options in ({}, ROOMY):  # an arena of 64 MiB needs more addresses
        play = Play(subject.heap(**options))
        play.play([Step("thread", 1), *small, *sizes, *every_other, Step("thread", 0), *small, *every_other])
        yield play
    yield filled(Play(subject.heap()))


def filled(play: Play) -> Play:
    """A heap that was full to its last byte and then grew."""
    play.take(Step("alloc", 0, 24))
    play.heap.process.kernel.calls.at(1)
    for _ in range(3):
        largest = max((size for _, size, kind in play.heap.spans() if kind in (FREE, UNUSED)), default=0)
        for header in (0, 8, 16, 32):
            play.take(Step("alloc", 0, max(largest - header, 0)))
    play.heap.process.kernel.calls.never()
    play.play([Step("alloc", 0, size) for size in (24, 600, 24)] + [Step("free", 0), Step("free", -2)])
    return play


# --- numbers to change


@dataclass
class Line:
    """A line of a check that reads the heap, and the numbers that it read: (address, size) -> number."""

    name: str
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        return list(self.numbers)


class Sample:
    """One heap, and the numbers that its check reads, by line."""

    def __init__(self, play: Play, number: int):
        self.heap, self.rng = play.heap, random.Random(number)
        self.accesses = 0
        self.lines = self.read()
        self.numbers = [start for start, _, _ in self.heap.spans()]
        self.numbers += [number for line in self.lines for number in line.numbers.values()]

    def read(self) -> list[Line]:
        lines: dict[tuple[object, ...], Line] = {}

        def note(operation: str, address: int, size: int, value: int, who: str) -> None:
            self.accesses += 1
            access = access_at_work(0, operation, address, size, depth=2)
            line = lines.setdefault((access.place, access.owner, access.field), Line(name_of(access)))
            line.numbers[address, size] = value

        stop = self.heap.process.observe(access=note)
        try:
            for start, end in self.heap.extents():
                self.heap.allocator.check(self.heap.state, start, end)
        finally:
            stop()
        return list(lines.values())

    def changed(self, line: Line, address: int, size: int) -> int:
        """Another number: a little more or less, one bit flipped, 0, its own address, or a number read elsewhere."""
        rng, old, bit = self.rng, line.numbers[address, size], 1 << self.rng.choice(BITS)
        near, far = (old + bit, old - bit, old ^ bit), (0, -1, ~old, address)
        elsewhere = line.numbers[rng.choice(line.places)], rng.choice(self.numbers)
        return rng.choice((rng.choice(near), rng.choice(far), *elsewhere)) & (1 << 8 * size) - 1


def name_of(access: Access) -> str:
    """The field that is read; for an element, the text of the line."""
    return f"{access.owner.__name__}.{access.field}" if access.owner else f"`{access.place.text}`"


# --- changing them


def corruptions_of(sample: Sample) -> Iterator[Corruption]:
    """An endless series of changes, each with the invariant that broke, or ""; each change is undone."""
    process, budget = sample.heap.process, BUDGET[0] + BUDGET[1] * sample.accesses
    for line in cycle(sample.lines):
        address, size = sample.rng.choice(line.places)
        old = line.numbers[address, size] & (1 << 8 * size) - 1
        new = sample.changed(line, address, size)
        process.poke(address, new.to_bytes(size, "little"))
        label = first_broken(sample.heap, budget)
        process.poke(address, old.to_bytes(size, "little"))
        yield Corruption(label, address, line.name, old, new)


def first_broken(heap: Heap, budget: int) -> str:
    """The label of the assert that fires first; "" if none does or `check` fails in another way."""
    for start, end in heap.extents():
        heap.memory.left = budget
        try:
            heap.allocator.check(heap.state, start, end)
        except Fault:
            return ""
        except AssertionError as error:
            said = invariant(str(error))
            return said.name if said else ""
        except Exception:  # noqa: BLE001  a broken heap may lead `check` anywhere
            return ""
        finally:
            heap.memory.left = UNLIMITED
    return ""
