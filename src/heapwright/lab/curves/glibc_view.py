"""The C library's malloc: its arenas, copied and walked from outside while the process waits.

Two counters of glibc say what it holds: `system_mem` of the main arena, and `mmapped_mem`. One thread replays, so there
are no other arenas.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from heapwright.lab.curves.parts import Holes, IdentityError, Told
from heapwright.lab.inspect import FastWalker
from heapwright.live.blocks import Spans, whole_pages
from heapwright.live.glibc.find import Found, find_heaps
from heapwright.live.glibc.heap import Heap, copy_arenas
from heapwright.live.glibc.lost import add_lost
from heapwright.live.glibc.mapped import accounted
from heapwright.live.glibc.states import TOP, Chunks, states_of
from heapwright.live.glibc.tally import spans
from heapwright.live.glibc.walk import Walked, walk_arena
from heapwright.live.look import ranges_of, rooms
from heapwright.live.memory import Image
from heapwright.live.process import Process
from heapwright.native.jobs.curves_job import SIZES
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED

KINDS = {USED: USED, CACHED: CACHED, OWN: OWN, FREE: FREE, TOP: UNUSED}


class GlibcView:
    """The arenas of the C library's malloc."""

    source = "a walk of glibc's arenas"

    def __init__(self) -> None:
        self._found: Found | None = None
        self._walker = FastWalker()
        self._told: list[Told] = []

    def begin(self, process: Process, job: Any) -> None:
        """Find the main arena, and tell the worker where its counters are."""
        image = Image(process)
        self._found = next(iter(find_heaps(image)), None)
        if self._found is None or not self._found.parameters:
            self._found, self.source = None, "pages alone: the arenas of this C library were not found"
            return
        heap = Heap(image, self._found)
        job.held_words[0] = heap.main.address + heap.layout.arena.fields["system_bytes"].offset
        job.held_words[1] = self._found.parameters + heap.layout.parameters.fields["mmapped_mem"].offset

    def look(self, process: Process, job: Any) -> None:
        if self._found:
            heap = Heap(Image(process), self._found)
            sizes = [job.sizes[number] for number in range(SIZES)]
            self._told.append(told_of(heap, walked_by(heap, process, self._walker), sizes))

    def told(self, number: int, sample: Any) -> Told | None:
        return self._told[number] if self._found else None


def walked_by(heap: Heap, process: Process, walker: FastWalker) -> list[Walked]:
    walks = [walk_arena(arena, walker) for arena in copy_arenas(heap, None)]
    claims = [claim for walked in walks for claim in ranges_of(walked)]
    add_lost(heap, walks[0], rooms(process.mappings.joined, claims), walker)
    if any(walked.damage for walked in walks):
        raise IdentityError(f"glibc's heap is damaged: {walks[0].damage[0][1]}")
    return walks


def told_of(heap: Heap, walks: list[Walked], sizes: list[int]) -> Told:
    """Add up the chunks of all arenas. Mapped chunks are live blocks."""
    found = states_of(heap, walks)
    runs = [spans_of(chunks) for chunks in found]
    heads = sum(8 for _ in runs)  # the word before a run's first chunk is nobody's
    mapped = (accounted(heap) or (0, 0))[1]
    held = sum(walked.arena.system_bytes for walked in walks) + mapped
    free = sum(each.total(FREE, UNUSED) for each in runs)
    pages = sum(int(np.subtract(*reversed(whole_pages(each.free()))).sum()) for each in runs)
    used, cached, own = (sum(each.total(kind) for each in runs) for kind in (USED, CACHED, OWN))
    holes = np.concatenate([ends - starts for starts, ends in (each.of(FREE, UNUSED) for each in runs)])
    return Told(held, cached, pages, free - pages, own + heads, used + mapped, holes_of(holes, sizes))


def spans_of(chunks: Chunks) -> Spans:
    """The chunks of a run as spans, in order."""
    parts = [(*spans(chunks, kind), span) for kind, span in KINDS.items()]
    starts, ends = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    kinds = np.concatenate([np.full(len(part[0]), part[2], np.int64) for part in parts])
    order = np.argsort(starts, kind="stable")
    return Spans(starts[order], ends[order], kinds[order])


def holes_of(holes: Any, sizes: list[int]) -> Holes:
    suitable = tuple(int((holes // size * size).sum()) for size in sizes)
    return Holes(int(holes.sum()), int(holes.max(initial=0)), int((holes * holes).sum()), suitable)
