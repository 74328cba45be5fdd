"""Every chunk of a copied arena, in arrays: where each lies, and its flags.

The walk follows sizes from the first chunk on. It ends at the top, at a fence, or at a size of 0. Where a page is not
there (swapped out, or left out of a core), or somebody else moved the break, the next chunk is found by its chain: the
first place from which sizes lead to a chunk that is known, the top or one of a bin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from heapwright.layout import Struct
from heapwright.live.extent import Extent, Numbers, joined
from heapwright.live.glibc.chunks import FLAGS, MIN_CHUNK, UNIT, Chunk, Note, note_chunks
from heapwright.live.glibc.heap import ArenaCopy, Section
from heapwright.live.source import Octets

ROOM = 1 << 20  # notes at a time
FENCE = UNIT  # the size of a fence
MAX_TRIES = 100_000
ENOUGH_LINKS = 8  # sizes that lead from one to the next are no chance any more
ABSENT, FOREIGN, DAMAGED = "absent", "foreign", "damaged"  # why there is a gap


class Walker(Protocol):
    """Notes the chunks of `data` from one offset to another: `chunks.note_chunks`, interpreted or compiled."""

    def __call__(self, data: Octets, start: int, end: int, notes: Numbers) -> int: ...


class Words:
    """An array of words as the memory of structs, at address 0: loads and stores of words alone."""

    def __init__(self, words: Any):
        self.words = memoryview(words).cast("B").cast("q")

    def load(self, address: int, size: int) -> int:
        return self.words[address >> 3]

    def store(self, address: int, size: int, value: int) -> None:
        self.words[address >> 3] = value


def interpreted(data: Octets, start: int, end: int, notes: Numbers) -> int:
    """The walk as Python executes it."""
    first: Any = struct_at(Chunk, Words(data), start)
    count: int = note_chunks(first, end, struct_at(Note, Words(notes), 0), len(notes))
    return count


def struct_at(struct: type[Struct], memory: Any, address: int) -> Struct:
    return struct(memory, address)


@dataclass
class Gap:
    """A range inside a section where no chunks are known, and why."""

    start: int
    end: int
    why: str


@dataclass
class Run:
    """Chunks that follow each other without a gap, and the flags of each; `end` is where the last one ends."""

    section: Section
    places: Numbers
    flags: Any
    end: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def sizes(self) -> Any:
        return np.diff(self.places, append=self.end)

    def size(self, index: int) -> int:
        """What a chunk's own head says, which for the last one need not lead to `end`."""
        return size_at(self.section.copy, int(self.places[index]) - self.section.copy.start)

    def keep(self, count: int, end: int) -> None:
        """Leave out all chunks but the first `count`."""
        self.places, self.flags, self.end = self.places[:count], self.flags[:count], end

    def of_size(self, *sizes: int) -> Numbers:
        """The indices of the chunks of some sizes, the last chunk apart; looked at in turn, for memory's sake."""
        parts = [np.zeros(0, np.int64)]
        for first in range(0, len(self) - 1, ROOM):
            some = np.diff(self.places[first : first + ROOM + 1])
            parts.append(first + np.flatnonzero(np.isin(some, sizes)))
        return np.concatenate(parts)


@dataclass
class Walked:
    """All runs of an arena, its gaps, and damage: where, and which rule it breaks."""

    arena: ArenaCopy
    alone: bool = True
    runs: list[Run] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    damage: list[tuple[int, str]] = field(default_factory=list)


def walk_arena(arena: ArenaCopy, walker: Walker = interpreted, alone: bool = True) -> Walked:
    """Walk all sections; `alone` says that no other C library takes memory from the same break."""
    walked = Walked(arena, alone)
    for section in arena.sections:
        walk_section(walked, section, walker)
    return walked


def walk_section(walked: Walked, section: Section, walker: Walker) -> None:
    known = known_in(walked.arena, section)
    place = section.first or first_chunk(section, section.copy.start, known, walked.alone)
    if place > section.copy.start and walked.arena.is_main:
        walked.gaps.append(Gap(section.copy.start, place, FOREIGN))
    while place < section.end:
        run = cut(walked.arena, walk_run(section, place, walker))
        place = section.end if is_end(walked.arena, run) else go_on(walked, run, known)
        if len(run.places):
            walked.runs.append(run)


def walk_run(section: Section, place: int, walker: Walker) -> Run:
    """The chunks from `place` up to one whose size leads nowhere."""
    copy, places, flags = section.copy, [], []
    notes = np.zeros(min(ROOM, (section.end - place) // UNIT + 2), np.int64)
    offset, end = place - copy.start, section.end - copy.start
    is_more = True
    while is_more:
        count = walker(copy.data, offset, end, notes)
        places.append(notes[:count] + copy.start)
        flags.append(flags_at(copy, notes[:count]))
        last = int(notes[count - 1])
        copy.done_with(copy.start + offset, copy.start + last)
        offset = last + size_at(copy, last)
        is_more = count == len(notes) and follows(offset - last, last, end) and offset < end
    stop = offset if follows(offset - last, last, end) else min(last + UNIT, end)
    return Run(section, joined(places), joined(flags), copy.start + stop)


def flags_at(copy: Extent, offsets: Numbers) -> Any:
    return (copy.words[np.minimum(offsets + 8, copy.size - 8) >> 3] & np.uint64(FLAGS)).astype(np.uint8)


def size_at(copy: Extent, offset: int) -> int:
    return int(copy.words[offset + 8 >> 3]) & ~FLAGS


def follows(size: int, offset: int, end: int) -> bool:
    """Whether a size leads to a next chunk."""
    return size >= UNIT and size % UNIT == 0 and size <= end - offset


def cut(arena: ArenaCopy, run: Run) -> Run:
    """End a run of the main arena behind its top, or behind two fences: what follows is not the arena's."""
    count = min(up_to_top(arena, run), up_to_fences(run) if arena.is_main else len(run.places))
    if count < len(run.places):
        run.keep(count, int(run.places[count]))
    return run


def up_to_top(arena: ArenaCopy, run: Run) -> int:
    index = int(np.searchsorted(run.places, arena.top))
    return index + 1 if index < len(run.places) and run.places[index] == arena.top else len(run.places)


def up_to_fences(run: Run) -> int:
    """How many chunks there are up to two fences; all if there are none."""
    return fenced(run) or len(run)


def fenced(run: Run) -> int:
    """How many chunks there are up to the two fences that mark where the break went on elsewhere; 0 without fences."""
    fences = run.of_size(FENCE)
    pairs = fences[:-1][np.diff(fences) == 1]
    if len(pairs):
        return int(pairs[0]) + 2
    return len(run) if len(run) > 1 and run.size(-1) == run.size(-2) == FENCE else 0


def is_end(arena: ArenaCopy, run: Run) -> bool:
    """Whether a section ends here as it should: with its last byte, or the size of 0 that ends a full segment."""
    size = run.size(-1)
    is_last_word = size == 0 and run.section.end - int(run.places[-1]) <= 2 * UNIT and run.section.copy.has(run.end - 8)
    return run.end >= run.section.end and (size >= UNIT or is_last_word) or (not arena.is_main and is_last_word)


def known_in(arena: ArenaCopy, section: Section) -> list[int]:
    """Chunks in a section that the arena itself names, in order."""
    return sorted({place for place in [arena.top, *arena.free_heads] if section.copy.start <= place < section.end})


def go_on(walked: Walked, run: Run, known: list[int]) -> int:
    """Where the next run starts behind one that ended early; notes the gap, and damage."""
    last, why = int(run.places[-1]), reason(walked.arena, run)
    if why != FOREIGN:
        run.keep(len(run) - 1, last)
    if why == DAMAGED:
        walked.damage.append((last, "GL1  chunks lie at multiples of 16 and have as many bytes, at least 32"))
    following = first_chunk(run.section, max(run.end, last + UNIT), known, walked.alone)
    walked.gaps.append(Gap(run.end, following, why))
    return following


def reason(arena: ArenaCopy, run: Run) -> str:
    """Why a run ended early."""
    last = int(run.places[-1])
    if not run.section.copy.has(last + 8):
        return ABSENT
    fenced = len(run.places) > 1 and run.size(-1) == run.size(-2) == FENCE
    return FOREIGN if arena.is_main and (last == arena.top or fenced) else DAMAGED


# --- finding a chunk


def first_chunk(section: Section, start: int, known: list[int], alone: bool) -> int:
    """The first place from `start` on whose chain of sizes leads somewhere; the section's end if there is none.

    It leads to a known chunk, to a page that is not there, or, if the arena has the break for itself, to two fences.
    """
    goals = [place for place in known if place >= start]
    limit = section.end if alone else max(goals, default=start)
    for tried, place in enumerate(plausible(section.copy, start, limit)):
        if tried >= MAX_TRIES:
            break
        if place in goals or leads_on(section, place, set(goals), alone):
            return place
    return min(goals, default=section.end)


def leads_on(section: Section, place: int, goals: set[int], alone: bool) -> bool:
    copy, end = section.copy, section.end - section.copy.start
    offset, before, links = place - copy.start, 0, 0
    while offset < end:
        if not copy.has(copy.start + offset + 8):
            return links >= ENOUGH_LINKS  # as far as can be seen
        size, links = size_at(copy, offset), links + 1
        if offset + copy.start in goals:
            return True
        if size == before == FENCE:
            return alone
        if not follows(size, offset, end):
            return False
        offset, before = offset + size, size
    return False


def plausible(copy: Extent, start: int, goal: int) -> Iterator[int]:
    """Places before `goal` that look like a chunk behind one in use."""
    first = (start - copy.start + UNIT - 1) // UNIT
    heads = copy.words[2 * first + 1 : (goal - copy.start) // 8 + 2 : 2]
    offsets = np.arange(first, first + len(heads), dtype=np.int64) * UNIT
    sizes = (heads & ~np.uint64(FLAGS)).astype(np.int64)
    good = (heads & 1 == 1) & (heads & 2 == 0) & (sizes >= MIN_CHUNK) & (sizes % UNIT == 0)
    good &= sizes <= copy.size - offsets
    return iter((offsets[good] + copy.start).tolist())
