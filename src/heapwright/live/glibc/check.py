"""Check the invariants of an arena, and report each broken one with its place.

The invariants are those in the package's docstring. They are checked over all chunks at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, Numbers, joined
from heapwright.live.glibc.chunks import NON_MAIN
from heapwright.live.glibc.heap import ArenaCopy, Heap, Section
from heapwright.live.glibc.states import TOP, WINDOW, Chunks
from heapwright.live.glibc.walk import Walked
from heapwright.spans import CACHED, FREE, USED

GL2 = "GL2  the chunk behind a free one repeats its size"
GL3 = "GL3  no two free chunks touch, and none touches the top"
GL4 = "GL4  the lists of the bins are linked both ways"
GL5 = "GL5  a chunk in use says A if and only if it is in a thread's arena"
GL6 = "GL6  the memory of an arena is as much as its system_mem says"
FORWARD, BACK = 16, 24
MAX_SHOWN = 20  # places of one rule

Damage = list[tuple[int, str]]


def check_arena(heap: Heap, arena: ArenaCopy, runs: list[Chunks]) -> Damage:
    """The damage in the runs of one arena."""
    damage: Damage = []
    links = Links()
    for chunks in sorted(runs, key=lambda each: int(each.run.places[0])):
        wrong = {GL5: misattributed(chunks)}
        for free in free_in_bins(chunks):
            links.take(chunks, free)
            wrong[GL2] = np.append(wrong.get(GL2, free[:0]), broken_sizes(chunks, free))
            wrong[GL3] = np.append(wrong.get(GL3, free[:0]), touching(chunks, free))
        damage += [each for rule, indices in wrong.items() for each in at(chunks.run.places[indices], rule)]
    return damage + at(links.unlinked(heap, arena), GL4)


def check_total(walked: Walked) -> Damage:
    """Check that all sections were found. Malloc also counts memory of others between the parts of the break."""
    arena = walked.arena
    if arena.lost:
        return [(arena.lost, GL6)]
    total = sum(bytes_of(walked, section) for section in arena.sections)
    return [] if abs(total - arena.system_bytes) < 4096 else [(arena.address, GL6)]


def bytes_of(walked: Walked, section: Section) -> int:
    """The bytes of a section: a segment up to its end, the break from its base on, the chunks of another mapping."""
    runs = [run for run in walked.runs if run.section is section]
    if not walked.arena.is_main:
        return section.end - section.copy.start
    if section.first:
        return max((run.end for run in runs), default=section.first) - section.first
    return sum(run.end - int(run.places[0]) for run in runs)


def at(places: Numbers, rule: str) -> Damage:
    return [(place, rule) for place in places[:MAX_SHOWN].tolist()]


def free_in_bins(chunks: Chunks) -> Iterator[Numbers]:
    """The free chunks, some at a time, without those in fast bins and the last chunk of a run that ended early."""
    for first in range(0, len(chunks.kinds) - 1, WINDOW):
        some = chunks.kinds[first : min(first + WINDOW, len(chunks.kinds) - 1)]
        yield without_fast(chunks, first + np.flatnonzero(some == FREE))
        chunks.run.section.copy.done_with(int(chunks.run.places[first]), int(chunks.run.places[first + len(some)]))


def without_fast(chunks: Chunks, indices: Numbers) -> Numbers:
    return np.setdiff1d(indices, chunks.fast, assume_unique=True) if len(chunks.fast) else indices


def broken_sizes(chunks: Chunks, free: Numbers) -> Numbers:
    copy, places = chunks.run.section.copy, chunks.run.places
    following = places[free + 1]
    repeated = copy.words_at(following).astype(np.int64)
    return free[(repeated != following - places[free]) & read(copy, following)]


def touching(chunks: Chunks, free: Numbers) -> Numbers:
    """Free chunks directly before another free chunk or before the top."""
    kinds = chunks.kinds[free + 1]
    before_free = without_fast(chunks, free[kinds == FREE] + 1) - 1
    return np.append(before_free, free[kinds == TOP])


def misattributed(chunks: Chunks) -> Numbers:
    in_use = (chunks.kinds == USED) | (chunks.kinds == CACHED)
    says = (chunks.run.flags & NON_MAIN) != 0
    return np.flatnonzero(in_use & (says == chunks.arena.is_main))


class Links:
    """The links of all free chunks of an arena, collected so that they can be compared without random reads."""

    def __init__(self) -> None:
        self._places, self._forward, self._back = ([np.zeros(0, np.int64)] for _ in range(3))

    def take(self, chunks: Chunks, free: Numbers) -> None:
        """Add the links of some chunks, which lie above those already added."""
        copy, places = chunks.run.section.copy, chunks.run.places[free]
        places = places[read(copy, places + FORWARD)]
        self._places.append(places)
        self._forward.append(copy.words_at(places + FORWARD).astype(np.int64))
        self._back.append(copy.words_at(places + BACK).astype(np.int64))

    def unlinked(self, heap: Heap, arena: ArenaCopy) -> Numbers:
        """The chunks whose neighbours in a bin do not point back to them."""
        places, forward, back = joined(self._places), joined(self._forward), joined(self._back)
        bad = np.zeros(len(places), bool)
        for first in range(0, len(places), WINDOW):
            some = slice(first, first + WINDOW)
            for targets, answers, offset in ((forward, back, BACK), (back, forward, FORWARD)):
                answer = answered(places, answers, targets[some])
                unknown = np.flatnonzero(answer < 0)
                wanted = targets[some][unknown] + offset
                answer[unknown] = words_in_arena(heap, arena, wanted, places[some][unknown])
                bad[some] |= answer != places[some]
        return places[bad]


def answered(places: Numbers, answers: Numbers, targets: Numbers) -> Numbers:
    """The answers of the chunks at these targets; -1 where there is no such chunk."""
    index = np.minimum(np.searchsorted(places, targets), len(places) - 1)
    return np.where(places[index] == targets, answers[index], -1)


def words_in_arena(heap: Heap, arena: ArenaCopy, addresses: Numbers, otherwise: Numbers) -> Numbers:
    """The words at addresses in an arena's memory or records; `otherwise` if their pages were not copied."""
    answers = np.full(len(addresses), -1, np.int64)
    waiting = np.ones(len(addresses), bool)
    for copy in (section.copy for section in arena.sections):
        inside = waiting & (addresses >= copy.start) & (addresses < copy.end) & (addresses % 8 == 0)
        words = copy.words_at(addresses[inside]).astype(np.int64)
        answers[inside] = np.where(read(copy, addresses[inside]), words, otherwise[inside])
        waiting &= ~inside
    for index in np.flatnonzero(waiting).tolist():
        answers[index] = word_or_nothing(heap, int(addresses[index]))
    return answers


def word_or_nothing(heap: Heap, address: int) -> int:
    try:
        return heap.image.load(address, 8)
    except Unreadable:
        return -1


def read(copy: Extent, places: Numbers) -> Any:
    """Whether the pages of these places were copied."""
    return copy.got[np.minimum(places - copy.start, copy.size - 1) // 4096]
