"""Memory of a main arena that nothing names: mappings in place of a break that could not grow.

Source: glibc malloc/malloc.c, sysmalloc. Where the break cannot grow, malloc maps what it needs, and keeps no record of
it. What has the top or a chunk in a bin is known by it; of the others, only `system_mem` says how much there is. Each
ends with two fences, and begins with a chunk at a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from heapwright.live.extent import copy_of
from heapwright.live.glibc.check import bytes_of
from heapwright.live.glibc.chunks import MIN_CHUNK, NON_MAIN
from heapwright.live.glibc.heap import Heap, Section
from heapwright.live.glibc.structs import NONCONTIGUOUS
from heapwright.live.glibc.walk import Run, Walked, Walker, fenced, walk_run
from heapwright.live.mappings import Mapping
from heapwright.live.pages import PAGE

MIN_BYTES = 2 * PAGE  # of a mapping
FIRST_FLAGS = 1  # of the first chunk: the one before it counts as in use


def add_lost(heap: Heap, walked: Walked, mappings: Iterable[Mapping], walker: Walker) -> None:
    """Add the mappings that fill what is missing of a main arena; `mappings` hold nothing else that is known."""
    if not heap.main.flags & NONCONTIGUOUS:
        return
    missing = walked.arena.system_bytes - sum(bytes_of(walked, section) for section in walked.arena.sections)
    for mapping in mappings:
        if missing < MIN_BYTES:
            return
        for run in lost_runs(heap, mapping, missing, walker):
            walked.arena.sections.append(run.section)
            walked.runs.append(run)
            missing -= run.end - int(run.places[0])


def lost_runs(heap: Heap, mapping: Mapping, most: int, walker: Walker) -> Iterator[Run]:
    """The runs of chunks in a mapping that begin at a page and end with two fences, `most` bytes at most."""
    if mapping.size < MIN_BYTES:
        return
    copy = copy_of(heap.image.source, mapping.start, mapping.end, heap.image.with_swapped)
    heads = copy.words[:: PAGE // 8], copy.words[1 :: PAGE // 8]
    begins = (heads[0] == 0) & (heads[1] & 7 == FIRST_FLAGS) & (heads[1] > MIN_CHUNK) & (heads[1] < mapping.size)
    end = mapping.start
    for page in np.flatnonzero(begins & copy.got).tolist():
        start = mapping.start + page * PAGE
        if start < end:
            continue
        run = walk_run(Section(copy, start, min(mapping.end, start + most + PAGE & -PAGE)), start, walker)
        count = fenced(run)
        run.keep(count, int(run.places[count]) if count < len(run) else run.end)
        if MIN_BYTES <= run.end - start <= most and not (run.flags & NON_MAIN).any():
            end, most = run.end, most - (run.end - start)
            run.section = Section(copy.part(start, end + PAGE - 1 & -PAGE), start, end)
            heap.image.adopt(run.section.copy)
            yield run
