"""A chunk in use changes its size where it lies: into top, the victim or a free chunk behind it, or by losing an end.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc_bins import give_back, move_top, set_victim, unlink
from heapwright.allocators.dlmalloc_chunks import (
    HEADER,
    LEAST_CHUNK,
    address_of,
    after,
    is_mapped,
    is_previous_used,
    is_used,
    mark_free,
    must_agree,
    plus,
    resize_used,
    size_of,
    use_first,
)
from heapwright.bits import align_up
from heapwright.layout import NULL

# --- giving ends back


def cut_front(heap, chunk, align):
    """Free what lies before the first aligned address that leaves a whole chunk; return the rest."""
    start = align_up(address_of(chunk), align) - HEADER
    if start - chunk.address < LEAST_CHUNK:
        start += align
    front = start - chunk.address
    rest = plus(chunk, front)
    if is_mapped(chunk):
        rest.previous_size = chunk.previous_size + front
        rest.head = size_of(chunk) - front
    else:
        use_first(heap, rest, size_of(chunk) - front)
        resize_used(heap, chunk, front)
        give_back(heap, chunk)
    return rest


def cut_back(heap, chunk, size):
    """Keep the first `size` bytes of a chunk in use; free the rest."""
    rest = plus(chunk, size)
    use_first(heap, rest, size_of(chunk) - size)
    resize_used(heap, chunk, size)
    give_back(heap, rest)


# --- growing and shrinking


def resize(heap, chunk, size):
    """Whether the chunk, where it lies, could be given another size."""
    behind = after(chunk)
    must_agree(heap, behind.address > chunk.address and is_previous_used(behind), chunk)
    if size <= size_of(chunk):
        cut_spare(heap, chunk, size)
        return True
    if behind == heap.top:
        return grow_into_top(heap, chunk, size)
    if behind == heap.victim:
        return grow_into_victim(heap, chunk, size)
    return not is_used(behind) and grow_into_free(heap, chunk, behind, size)


def cut_spare(heap, chunk, size):
    if size_of(chunk) - size >= LEAST_CHUNK:
        cut_back(heap, chunk, size)


def grow_into_top(heap, chunk, size):
    rest = size_of(chunk) + heap.top_size - size
    if rest <= 0:
        return False
    move_top(heap, plus(chunk, size), rest)
    resize_used(heap, chunk, size)
    return True


def grow_into_victim(heap, chunk, size):
    whole = size_of(chunk) + heap.victim_size
    rest = whole - size
    if rest < 0:
        return False
    if rest < LEAST_CHUNK:
        resize_used(heap, chunk, whole)
        set_victim(heap, chunk.at(NULL), 0)
    else:
        mark_free(plus(chunk, size), rest)
        set_victim(heap, plus(chunk, size), rest)
        resize_used(heap, chunk, size)
    return True


def grow_into_free(heap, chunk, behind, size):
    whole = size_of(chunk) + size_of(behind)
    if whole < size:
        return False
    unlink(heap, behind, size_of(behind))
    resize_used(heap, chunk, whole)
    cut_spare(heap, chunk, size)
    return True
