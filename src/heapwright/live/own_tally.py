"""Count a heap of heapwright's own: its spans, into the same parts and groups as any heap."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from heapwright.live.blocks import Ranges, Spans, tally_spans, whole_pages
from heapwright.live.extent import Extent, Numbers
from heapwright.live.findings import Look, Range
from heapwright.live.mappings import Mapping
from heapwright.live.own import OwnHeap, copy_extents, damage_in, given_by_trim, spans_of
from heapwright.live.pages import PAGE
from heapwright.live.parts import figures_in, summed
from heapwright.live.regions import region_of
from heapwright.spans import USED

HEADERS = (0, 8, 16)  # bytes before the caller's, of which no walk tells
SAMPLE = 1000


def tally_own(look: Look, own: OwnHeap, mappings: list[Mapping]) -> list[Range]:
    """Count the heap; the ranges that are its."""
    with look.pauses.paused() if look.pauses else nullcontext():
        copy_extents(own, mappings)
    look.damage += list(damage_in(own))
    trimmed = given_by_trim(own)
    if trimmed is None:
        look.notes.append(f"what the trim of {own.spec} would give back is not known: the heap is damaged, or in use")
    given, taken = trimmed or ([], 0)
    claims = [claim for copy in own.extents if (claim := tally_extent(look, own, copy, given))]
    gain = summed(figures_in(look.source, start, end) for start, end in given)
    look.returnable = gain._replace(resident=max(0, gain.resident - taken))
    return claims


def tally_extent(look: Look, own: OwnHeap, copy: Extent, given: list[Range]) -> Range | None:
    found = np.array(spans_of(own, copy), np.int64).reshape(-1, 3)
    if not len(found):
        return None
    spans = Spans(found[:, 0], found[:, 0] + found[:, 1], found[:, 2])
    starts, ends = spans.of(USED)
    header = header_of(look, copy, starts[:SAMPLE], ends[:SAMPLE])
    tally_spans(look, own.spec, copy, spans, header, both(copy, whole_pages(spans.free()), given))
    look.regions.append(region_of(own.spec, copy, *spans.held()))
    return int(spans.starts[0]) & -4096, int(spans.ends[-1]) + 4095 & -4096


def both(copy: Extent, free: Ranges, given: list[Range]) -> Ranges:
    """The free pages of an extent that are given back: a trim may give back pages of records too."""
    is_free, is_given = (np.zeros(copy.size // PAGE, bool) for _ in range(2))
    for flags, ranges in ((is_free, zip(*free, strict=True)), (is_given, given)):
        for start, end in ranges:
            flags[max(start - copy.start, 0) // PAGE : max(end - copy.start, 0) // PAGE] = True
    edges = np.flatnonzero(np.diff(is_free & is_given, prepend=False, append=False)) * PAGE + copy.start
    return Ranges(edges[::2], edges[1::2])


def header_of(look: Look, copy: Extent, starts: Numbers, ends: Numbers) -> int:
    """How far into a span the caller's bytes seem to begin: where most blocks are of a kind that has a name."""
    if not len(starts):
        return 0
    return max(HEADERS, key=lambda header: named(look, copy, starts + header, ends - starts - header))


def named(look: Look, copy: Extent, addresses: Numbers, sizes: Any) -> int:
    names = look.kinds.of(copy, addresses & -8, sizes)
    return sum(look.kinds.names[number].startswith(("Python ", "C++ ", "text")) for number in names.tolist())
