"""Chunks with their own mappings. glibc keeps no list of them, and the kernel joins neighbouring mappings.

Source: glibc malloc/malloc.c, sysmalloc_mmap and mremap_chunk. A mapping begins with a chunk that has the mapping's
size and only the flag M. An alignment may put the block further back, but leaves this first head. So each anonymous
mapping is read from its start: after a head, the whole mapping is skipped; otherwise the next page is tried. The count
and the sum are compared with those that malloc keeps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.glibc.chunks import FLAGS, HEADER, MAPPED
from heapwright.live.glibc.heap import Heap
from heapwright.live.mappings import Mapping
from heapwright.live.pages import PAGE
from heapwright.live.source import Source

LARGEST_MAPPING = 1 << 40  # more than any machine has: reserved by another allocator
HUGE = 1  # 2.43: the mapping has huge pages


class MappedChunk(NamedTuple):
    start: int
    end: int

    @property
    def address(self) -> int:
        """The caller's address, if it did not ask for an alignment."""
        return self.start + HEADER


def mapped_chunks(heap: Heap, mappings: Iterable[Mapping]) -> list[MappedChunk]:
    """The mapped chunks in mappings with no other known content."""
    return [chunk for mapping in mappings for chunk in chunks_in(heap, mapping)]


def chunks_in(heap: Heap, mapping: Mapping) -> list[MappedChunk]:
    if mapping.size > LARGEST_MAPPING or mapping.resident == 0:
        return []
    present = heap.image.source.pages(mapping.start, mapping.end).present
    found: list[MappedChunk] = []
    pages = np.flatnonzero(present)
    index = 0
    while index < len(pages):
        chunk = chunk_at(heap, mapping.start + int(pages[index]) * PAGE, mapping.end)
        if chunk:
            found.append(chunk)
            index = int(np.searchsorted(pages, (chunk.end - mapping.start) // PAGE))
        else:
            index += 1
    return found


def chunk_at(heap: Heap, start: int, limit: int) -> MappedChunk | None:
    """The mapped chunk whose mapping begins at a page."""
    try:
        before, head = words_at(heap.image.source, start)
    except Unreadable:
        return None
    size = (head & ~FLAGS) + heap.layout.mapped_head
    allowed = (0, HUGE) if heap.layout.mapped_head else (0,)
    if before in allowed and head & FLAGS == MAPPED and 0 < size <= limit - start and size % PAGE == 0:
        return MappedChunk(start, start + size)
    return None


def words_at(source: Source, address: int) -> tuple[int, int]:
    data = source.read(address, HEADER)
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


def accounted(heap: Heap) -> tuple[int, int] | None:
    """The number of mapped chunks and their bytes, as malloc counts them; None if its record was not found."""
    parameters = heap.parameters
    return (parameters.n_mmaps, parameters.mmapped_mem) if parameters else None
