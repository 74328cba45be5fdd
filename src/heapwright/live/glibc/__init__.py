"""The heap of glibc, in any process that may be read: 2.31 to 2.43, and later ones that keep the layout.

Source: W. Gloger, ptmalloc2, 2001, after D. Lea; glibc malloc/malloc.c and malloc/arena.c. Nothing here runs in the
process: its records are found by their shape (`find`), copied while it stands still (`heap`), walked (`walk`), and
judged from the copy (`states`, `check`, `trim`). heapwright's own `ptmalloc` tells how such a heap works.

    main arena (in the library's data)          thread's arena (in its first segment)
    +-----------------------------------+       +-----------------------------------+
    | mutex, flags, fast bins           |       | Segment: arena, previous, size    |
    | top -------> last chunk of [heap] |       +-----------------------------------+
    | bins: 127 circular lists          |       | Arena, as on the left             |
    | next ------> ring of all arenas   |       +-----------------------------------+
    | system_mem                        |       | chunks ...                    top |
    +-----------------------------------+       +-----------------------------------+

Invariants
    GL1  chunks lie at multiples of 16 and have as many bytes, at least 32
    GL2  the chunk behind a free one repeats its size
    GL3  no two free chunks touch, and none touches the top
    GL4  the lists of the bins are linked both ways
    GL5  a chunk in use says A if and only if it is in a thread's arena
    GL6  the memory of an arena is as much as its system_mem says

What cannot be known from outside: how many bytes of a block the program asked for. `live` is what it may use.
"""

from __future__ import annotations

from collections.abc import Iterator

from heapwright.live.glibc.find import anchor_of
from heapwright.live.glibc.heap import Heap
from heapwright.live.glibc.states import TOP, Chunks
from heapwright.live.glibc.structs import BINS, MIN_LARGE, UNSORTED
from heapwright.spans import FREE


def walk(chunks: Chunks) -> Iterator[tuple[int, int, int]]:
    """Yield (start, size, kind) for each chunk of a run, from its head to the next one's."""
    ends = chunks.ends + 8
    ends[-1] = chunks.run.end
    for place, end, kind in zip(chunks.run.places.tolist(), ends.tolist(), chunks.kinds.tolist(), strict=True):
        yield place + 8, end - place - 8, FREE if kind == TOP else kind


def lists(heap: Heap) -> Iterator[tuple[str, list[int]]]:
    """Yield (name, chunks) for each bin and the top of each arena, by following the links."""
    for number, address in enumerate(heap.arenas()):
        arena, name = heap.arena(address), f"arena {number}" if number else "main arena"
        for index in range(1, BINS):
            yield f"{name}, {sort_of(index)} bin {index}", list(members(heap, address, index))
        yield f"{name}, top", [arena.top]


def sort_of(index: int) -> str:
    if index == UNSORTED:
        return "unsorted"
    return "small" if index < MIN_LARGE else "large"


def members(heap: Heap, address: int, index: int) -> Iterator[int]:
    """The chunks of a bin, from the first on."""
    arena = heap.arena(address)
    anchor, chunk = anchor_of(arena, index), arena.bins[2 * index - 2]
    for _ in range(arena.system_bytes // 32):
        if chunk == anchor:
            return
        yield chunk
        chunk = heap.image.load(chunk + 16, 8)
