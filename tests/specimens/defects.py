"""What the tests of all specimens share: defects and where they show, and what scenarios observe."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.layout import StructMeta
from heapwright.machine import Fault

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Defect:
    """A scenario, which states the good outcome."""

    id: str
    scenario: Callable
    shows: str  # how the scenario fails on the specimen
    passes: tuple

    def __str__(self):
        return f"{self.id}-{self.scenario.__name__}"

    def is_shown_by(self, specimen):
        with pytest.raises((AssertionError, Fault)) as failure:
            self.scenario(specimen)
        said = str(failure.value)
        assert self.shows in said, said


class Defects:
    """The defects of one specimen; the allocators that most of their scenarios pass on are named once."""

    def __init__(self, specimen, passes):
        self.specimen, self.passes = specimen, passes
        self.all = []

    def register(self, id, shows, passes=None):
        """Register a scenario: `shows` is in the text of its failure on the specimen; the `passes` are without it."""

        def register(scenario):
            self.all.append(Defect(id, scenario, shows, passes or self.passes))
            return scenario

        return register

    def on_the_specimen(self):
        return [pytest.param(self.specimen, defect, id=str(defect)) for defect in self.all]

    def on_ours(self):
        pairs = [(design, defect) for defect in self.all for design in defect.passes]
        return [pytest.param(*pair, id=f"{pair[0].spec}-{pair[1]}") for pair in pairs]

    def ids(self):
        return {defect.id for defect in self.all}

    def __str__(self):
        return source_of(self.specimen).stem


def load_specimen(name):
    return allocator.load(str(Path(__file__).with_name(name)))


# --- what scenarios observe


def kernel_calls(heap):
    """A list that grows by the first argument of each kernel call."""
    calls = []
    heap.process.observe(call=lambda name, arguments, result, who: calls.append(arguments[0]))
    return calls


def growths(calls):
    return sum(n > 0 for n in calls)


def accesses(heap):
    """A list that grows by each access of the allocator: (operation, address, size)."""
    seen = []

    def see(operation, address, size, value, who):
        if who == "allocator":
            seen.append((operation, address, size))

    heap.process.observe(access=see)
    return seen


def heap_bytes(heap):
    return heap.process.brk - heap.process.heap_start


def bytes_of_kind(heap, wanted):
    return sum(size for _, size, kind in heap.spans() if kind == wanted)


def state_of(heap):
    """All that a call which fails must leave alone."""
    words = heap.process.peek(heap.words, heap.allocator.Heap.SIZE)
    return heap.process.brk, words, heap.process.peek(heap.process.heap_start, heap_bytes(heap))


def source_of(design):
    return Path(design.parts[-1].__file__)


def fields_of(design):
    """The names of the fields of an allocator's own structs."""
    structs = [each for each in vars(design.parts[-1]).values() if isinstance(each, StructMeta)]
    return {field.name for struct in structs for field in struct}


def functions_of(design):
    """The functions of an allocator's own file, as syntax trees, by name."""
    return {f.name: f for f in ast.parse(source_of(design).read_text()).body if isinstance(f, ast.FunctionDef)}


# --- what they do


def free_all(heap):
    for address in list(heap.live):
        heap.dealloc(address)


def some_story(heap, steps=200):
    """Allocations of many sizes and alignments; about half of them are freed."""
    rng = random.Random(1)
    for _ in range(steps):
        if heap.live and rng.random() < 0.4:
            heap.dealloc(rng.choice(list(heap.live)))
        else:
            heap.alloc(rng.randrange(600), 1 << rng.randrange(11))
