"""Count the chunks of an arena: into parts, arenas, pins, sizes, holes and the map."""

from __future__ import annotations

from typing import Any

import numpy as np

from heapwright.live.blocks import Ranges, tally_free
from heapwright.live.extent import Numbers
from heapwright.live.findings import ArenaFigures, Look
from heapwright.live.glibc.check import check_arena, check_total
from heapwright.live.glibc.chunks import HEADER, OVERHEAD
from heapwright.live.glibc.heap import Heap
from heapwright.live.glibc.states import TOP, Chunks, windows
from heapwright.live.glibc.trim import merged, trimmed
from heapwright.live.glibc.walk import ABSENT, DAMAGED, Walked
from heapwright.live.pages import PAGE
from heapwright.live.parts import figures_of
from heapwright.live.pins import CLASSES, ExtentBlocks, classes_of, size_classes
from heapwright.live.regions import add_used, holes_in, largest, region_with
from heapwright.spans import CACHED, FREE, OWN, USED

CACHED_KIND, OWN_KIND = "cached by threads", "the allocator's own"
PARTS = ((CACHED, "cached"), (OWN, "own"))


def tally_chunks(look: Look, heap: Heap, walked: Walked, found: list[Chunks]) -> None:
    """Count all chunks of one arena."""
    look.damage += [*walked.damage, *check_total(walked), *check_arena(heap, walked.arena, found)]
    figures = ArenaFigures.of(walked.arena)
    look.arenas.append(figures)
    for section in walked.arena.sections:
        used = np.zeros(section.copy.size // PAGE)
        mine = [each for each in found if each.run.section is section]
        for chunks in mine:
            tally_run(look, heap, chunks, figures, used)
        look.regions.append(region_with(figures.name, section.copy, used))
        tally_rest(look, walked, section, mine)


def tally_run(look: Look, heap: Heap, chunks: Chunks, figures: ArenaFigures, used: Any) -> None:
    """Count one run, some chunks at a time; `used` gets the bytes in use on each page."""
    copy, first = chunks.run.section.copy, chunks.run.places[:1]
    look.account.add_ranges("own", copy, first, np.minimum(first + OVERHEAD, chunks.run.end))  # the word is nobody's
    for part in windows(chunks):
        tally_free_chunks(look, heap, part)
        tally_parts(look, part)
        tally_pins(look, part)
        add_used(used, copy, *held(part))
        look.holes = largest(look.holes + holes_in(figures.name, copy, *merged(part)))
        note_part(figures, part)
        copy.done_with(int(part.run.places[0]), int(part.run.places[-1]))


def note_part(figures: ArenaFigures, chunks: Chunks) -> None:
    free = [np.append(*pair) for pair in zip(spans(chunks, FREE), spans(chunks, TOP), strict=True)]
    of_free = figures_of(chunks.run.section.copy, *free)
    figures.walked_bytes += chunks.run.end - int(chunks.run.places[0])
    figures.chunks += len(chunks.kinds)
    figures.live_bytes += int(np.subtract(*reversed(spans(chunks, USED))).sum())
    figures.free_bytes += of_free.virtual
    figures.resident_free_bytes += of_free.resident


# --- parts


def spans(chunks: Chunks, kind: int) -> tuple[Numbers, Numbers]:
    """Where chunks of a kind start and end, from their heads on: the word before belongs to the chunk before."""
    chosen = chunks.kinds == kind
    return chunks.run.places[chosen] + OVERHEAD, np.minimum(chunks.ends[chosen] + OVERHEAD, chunks.limit)


def tally_parts(look: Look, chunks: Chunks) -> None:
    """Blocks in use and their headers, what threads cache, and records."""
    copy, account = chunks.run.section.copy, look.account
    starts, ends = spans(chunks, USED)
    payload = np.minimum(starts + HEADER - OVERHEAD, ends)
    account.add_ranges("overhead", copy, starts, payload)
    account.add_ranges("live", copy, payload, ends)
    for kind, part in PARTS:
        account.add_ranges(part, copy, *spans(chunks, kind))


def tally_free_chunks(look: Look, heap: Heap, chunks: Chunks) -> None:
    """Count the free chunks of a window, the arena's top too."""
    (starts, ends), (top_starts, top_ends) = spans(chunks, FREE), spans(chunks, TOP)
    free = Ranges(np.append(starts, top_starts), np.append(ends, top_ends))
    tally_free(look, chunks.run.section.copy, free, trimmed(heap, chunks, look.source.mappings))


def tally_rest(look: Look, walked: Walked, section: Any, found: list[Chunks]) -> None:
    """What of a section no chunk covers: gaps, a segment's records and its readable end; the break may be others'."""
    account, copy = look.account, section.copy
    inside = [gap for gap in walked.gaps if copy.start <= gap.start < copy.end]
    for gap in inside:
        if gap.why in (ABSENT, DAMAGED):
            account.add_ranges("unread", copy, [gap.start], [min(gap.end, copy.end)])
    if walked.arena.is_main:
        return
    account.add_ranges("own", copy, [copy.start], [section.first])
    last = max([each.run.end for each in found] + [gap.end for gap in inside] + [section.first])
    account.add_ranges("free_kept", copy, [last], [copy.end])
    note_whole(look, copy.start, copy.end)


def note_whole(look: Look, start: int, end: int) -> None:
    """Nothing may remain of a mapping that a section covers."""
    mapping = look.account.mappings.at(start)
    if mapping and mapping.start >= start and mapping.end <= end:
        look.account.whole.add(mapping.start)


# --- pins, sizes, holes, the map


def tally_pins(look: Look, chunks: Chunks) -> None:
    """Group the blocks that hold pages, and share out the free bytes of those pages."""
    copy = chunks.run.section.copy
    sections, groups = [], []
    for kind, name in ((USED, ""), (CACHED, CACHED_KIND), (OWN, OWN_KIND)):
        starts, ends = spans(chunks, kind)
        sizes = ends - starts - OVERHEAD
        kinds = np.full(len(starts), look.kinds.number(name)) if name else look.kinds.of(copy, starts + OVERHEAD, sizes)
        groups.append(kinds * CLASSES + classes_of(sizes))
        sections.append((starts, ends))
        if kind == USED:
            look.tally.count(groups[-1], sizes)
            size_classes(look.sizes, sizes)
    starts, ends = (np.concatenate(each) for each in zip(*sections, strict=True))
    free_starts, free_ends = spans(chunks, FREE)
    look.tally.pin(ExtentBlocks(copy, starts, ends, np.concatenate(groups)), free_starts, free_ends)


def held(chunks: Chunks) -> tuple[Numbers, Numbers]:
    """What is not free, in order."""
    chosen = (chunks.kinds != FREE) & (chunks.kinds != TOP)
    return chunks.run.places[chosen] + OVERHEAD, np.minimum(chunks.ends[chosen] + OVERHEAD, chunks.limit)
