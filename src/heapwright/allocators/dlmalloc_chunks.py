"""Chunks with boundary tags: the floor that dlmalloc stands on.

A chunk begins with the foot of the one before it: that chunk's size while it is free, its caller's last word
while it is in use. So a chunk in use costs one word, its head: the size, and in its low bits whether the chunk and
the one before it are in use. A chunk with neither bit is a mapping of its own (`dlmalloc_system`).

A heap here is any struct with a `least_address`.
"""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import NULL, Struct, Word

ALIGNMENT = 16
OVERHEAD = 8  # of a chunk in use: its head
LEAST_CHUNK = 32

PREVIOUS_USED, USED_BIT = 1, 2
BOTH_USED = PREVIOUS_USED | USED_BIT
FLAGS = 7


class Chunk(Struct):
    previous_size: Word  # the foot of the chunk before: its size while it is free
    head: Word  # the size, and the two bits
    forward: Chunk  # in its bin; while free
    back: Chunk


HEADER = Chunk.forward.offset


# --- sizes and places


def chunk_size(size):
    """The size of a chunk for a caller's `size` bytes."""
    return max(align_up(size + OVERHEAD, ALIGNMENT), LEAST_CHUNK)


def chunk_of(heap, address):
    return Chunk(heap.memory, address - HEADER)


def address_of(chunk):
    return chunk.address + HEADER


def size_of(chunk):
    return chunk.head & ~FLAGS


def plus(chunk, size):
    """The chunk `size` bytes further on."""
    return chunk.at(chunk.address + size)


def after(chunk):
    return plus(chunk, size_of(chunk))


def before(chunk):
    """The chunk before this one: there is no knowing where it begins unless it is free."""
    return plus(chunk, -chunk.previous_size)


# --- the two bits


def is_used(chunk):
    return chunk.head & USED_BIT != 0


def is_previous_used(chunk):
    return chunk.head & PREVIOUS_USED != 0


def is_mapped(chunk):
    return chunk.head & BOTH_USED == 0


def is_live(chunk):
    """In use, or a mapping of its own."""
    return chunk.head & BOTH_USED != PREVIOUS_USED


def use_first(chunk, size):
    """Put the first bytes of a free chunk into use; what is left of it gets a head of its own."""
    chunk.head = size | BOTH_USED


def use_whole(chunk, size):
    chunk.head = size | BOTH_USED
    plus(chunk, size).head |= PREVIOUS_USED


def resize_used(chunk, size):
    """Change the size of a chunk in use, whatever lies before it."""
    chunk.head = chunk.head & PREVIOUS_USED | USED_BIT | size
    plus(chunk, size).head |= PREVIOUS_USED


def mark_free(chunk, size):
    """Write a free chunk's head and foot, where the chunk behind it already knows."""
    chunk.head = size | PREVIOUS_USED
    plus(chunk, size).previous_size = size


def mark_freed(chunk, size):
    """The same for a chunk that was in use until now."""
    plus(chunk, size).head &= ~PREVIOUS_USED
    mark_free(chunk, size)


def cut(chunk, size, rest):
    """Put the first `size` bytes of a free chunk into use; the other `rest` bytes, a free chunk, or null if too few."""
    if rest < LEAST_CHUNK:
        use_whole(chunk, size + rest)
        return chunk.at(NULL)
    use_first(chunk, size)
    remainder = plus(chunk, size)
    mark_free(remainder, rest)
    return remainder


# --- guards


def must_be_ours(heap, link):
    """Links lie in freed memory, where a program may still write: believe none that leads out of the heap."""
    if link.address < heap.least_address:
        corrupted(heap, link.address)


def must_agree(heap, agree, chunk):
    if not agree:
        corrupted(heap, chunk.address)


def corrupted(heap, address):
    heap.memory.fault("corrupted heap", address)
