"""The layout of a heap, recognised by its shape if no file gives the version of glibc.

The main arena distinguishes 2.43 from earlier versions, and malloc_par distinguishes 2.35. Between 2.35 and 2.42, the
size of the first cache decides; before 2.35, whether the links in it are mangled. Versions that look alike then do not
differ in anything that matters here.
"""

from __future__ import annotations

from collections.abc import Iterator

from heapwright.live.errors import Unreadable
from heapwright.live.glibc.chunks import FLAGS, HEADER, UNIT
from heapwright.live.glibc.structs import Layout, layout_of
from heapwright.live.memory import Image

FIRST_CHUNKS = 64
MANGLED_SINCE, LATE_CACHE = 32, 42


def refined(image: Image, layout: Layout, parameters: int) -> Layout:
    """The layout of the same arena that the caches are made for."""
    if layout.version >= 43 or not parameters:
        return layout
    base = layout.parameters_at(image, parameters).sbrk_base
    heads = list(first_heads(image, base))
    late = layout_of(LATE_CACHE)
    if layout.version >= 35:
        is_late = not has_chunk(heads, layout.cache_chunk) and has_chunk(heads, late.cache_chunk)
        return late if is_late else layout
    return layout_of(31) if has_plain_links(image, layout, heads) else layout


def first_heads(image: Image, base: int) -> Iterator[tuple[int, int]]:
    """The places and sizes of the heap's first chunks."""
    place = base + UNIT - 1 & -UNIT
    try:
        for _ in range(FIRST_CHUNKS):
            size = image.word(place + 8) & ~FLAGS
            if size < UNIT:
                return
            yield place, size
            place += size
    except Unreadable:
        return


def has_chunk(heads: list[tuple[int, int]], size: int) -> bool:
    return any(each == size for _, each in heads)


def has_plain_links(image: Image, layout: Layout, heads: list[tuple[int, int]]) -> bool:
    """Whether a bin with two chunks in the first cache links them without mangling."""
    for place, size in heads:
        if size == layout.cache_chunk:
            cache = layout.cache_at(image, place + HEADER)
            for count, entry in zip(cache.counts, cache.entries, strict=True):
                if count >= 2:
                    return image.word(entry) % UNIT == 0 and image.is_there(image.word(entry))
    return False
