"""jemalloc's extents as arrays, and the regions of its slabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heapwright.live.blocks import Spans
from heapwright.live.extent import Numbers
from heapwright.live.jemalloc.structs import (
    ACTIVE,
    CLASSES,
    LARGEST_INDEX,
    NO_CLASS,
    RETAINED,
    SLAB_CLASSES,
    Layout,
    size_of,
)
from heapwright.live.pages import PAGE
from heapwright.spans import CACHED, FREE, USED

SIZES = np.array([size_of(number) for number in range(CLASSES)] + [0], np.int64)
ONES = np.array([number.bit_count() for number in range(256)], np.uint8)
WORDS_OF_BITMAP = slice(8, 16)


@dataclass
class Extents:
    """Extents by address: where each starts and ends, the address that a large block has in it, and what it is."""

    starts: Numbers
    ends: Numbers
    blocks: Numbers
    states: Numbers
    classes: Numbers
    slabs: Any
    bitmaps: Any

    def __len__(self) -> int:
        return len(self.starts)

    def chosen(self, which: Any) -> Extents:
        return Extents(*(getattr(self, name)[which] for name in Extents.__dataclass_fields__))


def extents_of(rows: Any, layout: Layout) -> tuple[Extents, int]:
    """The extents of these records, and how many records make no sense: they changed while they were read."""
    bits = rows[:, 0]
    sizes = (rows[:, 2] & np.uint64((1 << 64) - PAGE)).astype(np.int64)
    blocks = rows[:, 1].astype(np.int64)
    states = field(bits, layout.state, layout.state_bits)
    is_slab = (field(bits, layout.slab, 1) == 1) & (states == ACTIVE)  # a free extent keeps what it was
    extents = Extents(
        blocks & -PAGE,
        (blocks & -PAGE) + sizes,
        blocks,
        states,
        field(bits, layout.size_class, 8),
        is_slab,
        rows[:, WORDS_OF_BITMAP],
    )
    free = field(bits, layout.free_count, 10)
    found = extents.chosen(is_sound(extents, free) & (field(bits, 0, 12) < LARGEST_INDEX))
    found = found.chosen(np.argsort(found.starts, kind="stable"))
    apart = np.append(found.ends[:-1] <= found.starts[1:], [True] * (len(found) > 0)).astype(bool)
    return found.chosen(apart), len(rows) - int(apart.sum())


def field(bits: Any, first: int, count: int) -> Numbers:
    values: Numbers = ((bits >> np.uint64(first)) & np.uint64((1 << count) - 1)).astype(np.int64)
    return values


def is_sound(extents: Extents, free: Numbers) -> Any:
    """Whether an extent's fields agree: a slab's bitmap has as many bits as it says, a large block fits in."""
    classes, sizes = np.minimum(extents.classes, NO_CLASS), extents.ends - extents.starts
    marked = marks_below(extents.bitmaps, sizes // np.maximum(SIZES[classes], 1))
    slab = (classes < SLAB_CLASSES) & (marked == free)
    large = (extents.states <= RETAINED) & ((extents.states != ACTIVE) | (SIZES[classes - 1] < sizes))
    return (sizes > 0) & (extents.starts > 0) & np.where(extents.slabs, slab, large)


def marks_below(bitmaps: Any, counts: Numbers) -> Numbers:
    """How many of the first bits of each bitmap are set: those behind them are left from what was there before."""
    wanted = np.clip(counts[:, None] - 64 * np.arange(bitmaps.shape[1]), 0, 64)
    masks = np.where(wanted == 64, ~np.uint64(0), (np.uint64(1) << (wanted & 63).astype(np.uint64)) - np.uint64(1))
    ones: Numbers = ONES[(bitmaps & masks).view(np.uint8)].sum(axis=1, dtype=np.int64)
    return ones


# --- blocks


def spans_of(extents: Extents, cached: Numbers) -> Spans:
    """The blocks and the free ranges of extents; `cached` are the pointers that threads cache."""
    parts = [large_blocks(extents), free_pages(extents), *regions(extents)]
    starts, ends, kinds = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(starts, kind="stable")
    starts, ends, kinds = starts[order], ends[order], kinds[order]
    index = np.minimum(np.searchsorted(starts, cached), max(len(starts) - 1, 0))
    index = index[(starts[index] == cached) & (kinds[index] == USED)] if len(starts) else index[:0]
    kinds[index] = CACHED
    return Spans(starts, ends, kinds)


def large_blocks(extents: Extents) -> Spans:
    """Blocks with an extent of their own; what lies beside them is the allocator's, to spread them over the cache."""
    large = extents.chosen(~extents.slabs & (extents.states == ACTIVE))
    sizes = np.minimum(SIZES[np.minimum(large.classes, NO_CLASS)], large.ends - large.starts - padding(large))
    return Spans(large.blocks, large.blocks + sizes, np.full(len(large), USED, np.int64))


def padding(large: Extents) -> int:
    """How many bytes more than its block a large extent has, as the smallest tell: their classes are a page apart."""
    exact = (large.classes >= SLAB_CLASSES) & (large.classes < SLAB_CLASSES + 4)
    spare = (large.ends - large.starts)[exact] - SIZES[large.classes[exact]]
    return min(PAGE, int(spare.min(initial=PAGE)))


def free_pages(extents: Extents) -> Spans:
    free = extents.chosen(extents.states != ACTIVE)
    return Spans(free.starts, free.ends, np.full(len(free), FREE, np.int64))


def regions(extents: Extents) -> Iterator[Spans]:
    """The regions of all slabs, class by class."""
    for number in np.unique(extents.classes[extents.slabs]).tolist():
        slabs = extents.chosen(extents.slabs & (extents.classes == number))
        size = size_of(number)
        count = int(slabs.ends[0] - slabs.starts[0]) // size
        bits = np.ascontiguousarray(slabs.bitmaps).view(np.uint8)
        free = np.unpackbits(bits, axis=1, bitorder="little")[:, :count]
        starts = (slabs.starts[:, None] + size * np.arange(count)).ravel()
        yield Spans(starts, starts + size, np.where(free.ravel() == 1, FREE, USED).astype(np.int64))
