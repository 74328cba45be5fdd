"""Count jemalloc's memory: blocks, free regions, free extents and its own records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import numpy as np

from heapwright.live.blocks import Ranges, Spans, group_blocks, tally_free, tally_parts
from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, Numbers, copy_of, outline_of
from heapwright.live.findings import Look, Range
from heapwright.live.jemalloc.caches import cached_in
from heapwright.live.jemalloc.extents import Extents, extents_of, spans_of
from heapwright.live.jemalloc.find import Found, find_tree, heap_mappings, records_of, version_of
from heapwright.live.jemalloc.structs import ACTIVE, DIRTY, MUZZY, RETAINED
from heapwright.live.mappings import Mapping
from heapwright.live.memory import Image
from heapwright.live.pages import PAGE
from heapwright.live.regions import add_used, region_with
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics
from heapwright.spans import CACHED, FREE, USED

NAME = "jemalloc"
BASE = 2 << 20  # alignment of the blocks that its records lie in
AT_ONCE = 8 << 20  # bytes of extents whose blocks are looked at together


def tally_jemalloc(look: Look, module: Module) -> list[Range]:
    """Count what one jemalloc has; the ranges that are its."""
    tree = find_tree(look.image, module)
    if tree is None:
        look.statistics.append(Statistics(NAME, version_of(module) or None))
        look.notes.append("jemalloc is recognised, but its records have another layout than those of 5.2 and 5.3")
        return []
    with look.pauses.paused() if look.pauses else nullcontext():
        rows = records_of(look.image, tree)
        bases = list(bases_of(look.image))
        ends = [(mapping.start, mapping.end) for mapping in look.source.mappings if mapping.is_private_data]
        cached = cached_in(look.image, sorted({*ends, *look.stacks}))
    extents, senseless = extents_of(rows, tree.layout)
    if senseless:
        look.notes.append(f"{senseless:,} of jemalloc's {len(rows):,} extents changed while they were read")
    figures = Statistics(NAME, tree.version, 0, 0, 0, 0, 0, 0, 0, True)
    for mapping in heap_mappings(look.source.mappings):
        tally_mapping(
            look, figures, mapping, inside(extents, mapping), np.zeros(0, np.int64) if cached is None else cached
        )
    if cached is None:
        figures.cached_bytes = None
    count_extents(figures, extents)
    count_bases(look, figures, bases)
    look.statistics.append(figures)
    return [*bases, *joined_ranges(extents)]


def figures_at(image: Image, tree: Found) -> Statistics:
    """The figures of one jemalloc, without a look at its blocks, while the process stands still."""
    extents, _ = extents_of(records_of(image, tree), tree.layout)
    mappings = [mapping for mapping in image.source.mappings if mapping.is_private_data]
    cached = cached_in(image, [(mapping.start, mapping.end) for mapping in mappings])
    figures = Statistics(NAME, tree.version, 0, 0, 0, 0, 0, 0, 0)
    count(figures, spans_of(extents, np.zeros(0, np.int64) if cached is None else cached))
    if cached is None:
        figures.cached_bytes = None
    count_extents(figures, extents)
    figures.own_bytes = sum(end - start for start, end in bases_of(image))
    figures.mapped_bytes = (figures.mapped_bytes or 0) + figures.own_bytes
    return figures


def inside(extents: Extents, mapping: Mapping) -> Extents:
    """The extents of a mapping; none is in two."""
    first, last = np.searchsorted(extents.starts, [mapping.start, mapping.end])
    chosen = extents.chosen(slice(first, last))
    return chosen.chosen(chosen.ends <= mapping.end)


# --- parts


def tally_mapping(look: Look, figures: Statistics, mapping: Mapping, extents: Extents, cached: Numbers) -> None:
    """Count a mapping's extents, some at a time; of what lies between them nothing is known."""
    if not len(extents):
        return
    used, outline = np.zeros(mapping.size // PAGE), outline_of(look.source, mapping.start, mapping.end)
    for part in batches(extents):
        copy = copy_of(look.source, int(part.starts[0]), int(part.ends[-1]), look.image.with_swapped)
        spans = spans_of(part, cached)
        tally_parts(look, NAME, copy, spans, Ranges(*spans.of(FREE)))
        tally_slabs(look, copy, part, spans)
        tally_free_extents(look, copy, part)
        tally_margins(look, copy, part, spans)
        add_used(used, outline, *spans.held())
        count(figures, spans)
        copy.done_with(copy.start, copy.end)
    look.regions.append(region_with(NAME, outline, used))


def batches(extents: Extents) -> Iterator[Extents]:
    """Extents that follow each other, of some size together."""
    first = 0
    while first < len(extents):
        last = int(np.searchsorted(extents.starts, extents.starts[first] + AT_ONCE))
        yield extents.chosen(slice(first, last))
        first = last


def tally_margins(look: Look, copy: Extent, extents: Extents, spans: Spans) -> None:
    """Count what of an extent no block covers: the page that spreads large blocks over the processor's cache."""
    first = np.searchsorted(spans.starts, extents.starts)
    last = np.append(first[1:], len(spans.starts)) - 1
    look.account.add_ranges("overhead", copy, extents.starts, spans.starts[first])
    look.account.add_ranges("overhead", copy, spans.ends[last], extents.ends)


def tally_slabs(look: Look, copy: Extent, extents: Extents, spans: Spans) -> None:
    """Share out the free regions of each slab to its blocks: it goes back to the kernel as a whole or not at all."""
    starts, ends = spans.of(USED)
    groups = group_blocks(look, NAME, copy, starts, ends, 0)
    free = Ranges(*spans.of(FREE))
    units = np.searchsorted(extents.starts, free.starts, side="right") - 1
    in_slab = extents.slabs[units]
    look.account.add_ranges("free_rest", copy, free.starts[in_slab], free.ends[in_slab])
    if copy.present is None:
        return
    owners = np.searchsorted(extents.starts, starts, side="right") - 1
    resident = copy.resident_in(free.starts, free.ends)[in_slab]
    held = np.bincount(units[in_slab], resident, len(extents))
    look.tally.share(owners, groups, ends - starts, held, copy.resident_in(extents.starts, extents.ends))


def tally_free_extents(look: Look, copy: Extent, extents: Extents) -> None:
    """Count free extents: a purge of all arenas gives back the dirty and the muzzy ones."""
    unused = extents.states != ACTIVE
    purged = (extents.states == DIRTY) | (extents.states == MUZZY)
    free = Ranges(extents.starts[unused], extents.ends[unused])
    tally_free(look, copy, free, Ranges(extents.starts[purged], extents.ends[purged]))


def count(figures: Statistics, spans: Spans) -> None:
    """Count what is live and what is free, free extents included."""
    figures.live_bytes = (figures.live_bytes or 0) + spans.total(USED)
    figures.free_bytes = (figures.free_bytes or 0) + spans.total(FREE)
    figures.cached_bytes = (figures.cached_bytes or 0) + spans.total(CACHED)


def count_extents(figures: Statistics, extents: Extents) -> None:
    """The figures by the state of extents; what is free besides lies in slabs."""
    sizes = extents.ends - extents.starts
    figures.mapped_bytes = int(sizes.sum())
    figures.kept_bytes = int(sizes[(extents.states == DIRTY) | (extents.states == MUZZY)].sum())
    figures.released_bytes = int(sizes[extents.states == RETAINED].sum())
    figures.free_bytes = (figures.free_bytes or 0) - figures.kept_bytes - figures.released_bytes


# --- its own records


def bases_of(image: Image) -> Iterator[Range]:
    """The blocks that its records lie in: each begins with its size and the next one's address."""
    for mapping in heap_mappings(image.source.mappings):
        place = mapping.start + BASE - 1 & -BASE
        while place < mapping.end:
            size = base_at(image, place, mapping.end)
            if size:
                yield place, place + size
            place += size or BASE


def base_at(image: Image, place: int, limit: int) -> int:
    """The size of the block at a place; 0 if there is none."""
    try:
        size, following = image.word(place), image.word(place + 8)
        arena, end = image.word(place + 16) & 0xFFF, image.word(place + 24)
    except Unreadable:
        return 0
    fits = 0 < size <= limit - place and size % BASE == 0 and following % BASE == 0
    return size if fits and arena == 0xFFF and place < end <= place + size else 0


def count_bases(look: Look, figures: Statistics, bases: list[Range]) -> None:
    for start, end in bases:
        look.account.add_ranges("own", outline_of(look.source, start, end), [start], [end])
    figures.own_bytes = sum(end - start for start, end in bases)


def joined_ranges(extents: Extents) -> Iterable[Range]:
    """The ranges of extents, those that touch as one."""
    apart = np.flatnonzero(extents.starts[1:] != extents.ends[:-1]) + 1
    first, last = np.append(0, apart), np.append(apart, len(extents)) - 1
    return zip(extents.starts[first].tolist(), extents.ends[last].tolist(), strict=True) if len(extents) else []
