"""Resizing in place: a chunk in use grows into top, the victim or a free chunk behind it, or loses one of its ends.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import bins, chunks
from heapwright.layout import NULL

# --- freeing ends


def cut_front(heap, chunk, align):
    """Free the front of a chunk up to the first aligned address that leaves a whole chunk there; return the rest."""
    start = bits.align_up(chunks.address_of(chunk), align) - chunks.HEADER
    if start - chunk.address < chunks.MIN_CHUNK:
        start += align
    front = start - chunk.address
    rest = chunks.offset_by(chunk, front)
    if chunks.is_mapped(chunk):
        rest.previous_size = chunk.previous_size + front
        rest.head = chunks.size_of(chunk) - front
    else:
        chunks.use_first(heap, rest, chunks.size_of(chunk) - front)
        chunks.resize_used(heap, chunk, front)
        bins.give_back(heap, chunk)
    return rest


def cut_back(heap, chunk, size):
    """Keep the first `size` bytes of a chunk in use; free the rest."""
    rest = chunks.offset_by(chunk, size)
    chunks.use_first(heap, rest, chunks.size_of(chunk) - size)
    chunks.resize_used(heap, chunk, size)
    bins.give_back(heap, rest)


# --- growing and shrinking


def resize(heap, chunk, size):
    """Resize a chunk in place; return whether that was possible."""
    behind = chunks.after(chunk)
    chunks.must_agree(heap, behind.address > chunk.address and chunks.is_previous_used(behind), chunk)
    if size <= chunks.size_of(chunk):
        cut_spare(heap, chunk, size)
        return True
    if behind == heap.top:
        return grow_into_top(heap, chunk, size)
    if behind == heap.victim:
        return grow_into_victim(heap, chunk, size)
    return not chunks.is_used(behind) and grow_into_free(heap, chunk, behind, size)


def cut_spare(heap, chunk, size):
    if chunks.size_of(chunk) - size >= chunks.MIN_CHUNK:
        cut_back(heap, chunk, size)


def grow_into_top(heap, chunk, size):
    rest = chunks.size_of(chunk) + heap.top_size - size
    if rest <= 0:
        return False
    bins.move_top(heap, chunks.offset_by(chunk, size), rest)
    chunks.resize_used(heap, chunk, size)
    return True


def grow_into_victim(heap, chunk, size):
    whole = chunks.size_of(chunk) + heap.victim_size
    rest = whole - size
    if rest < 0:
        return False
    if rest < chunks.MIN_CHUNK:
        chunks.resize_used(heap, chunk, whole)
        bins.set_victim(heap, chunk.at(NULL), 0)
    else:
        chunks.mark_free(chunks.offset_by(chunk, size), rest)
        bins.set_victim(heap, chunks.offset_by(chunk, size), rest)
        chunks.resize_used(heap, chunk, size)
    return True


def grow_into_free(heap, chunk, behind, size):
    whole = chunks.size_of(chunk) + chunks.size_of(behind)
    if whole < size:
        return False
    bins.unlink(heap, behind, chunks.size_of(behind))
    chunks.resize_used(heap, chunk, whole)
    cut_spare(heap, chunk, size)
    return True
