"""Chunks with boundary tags: the floor that dlmalloc stands on.

A chunk begins with the foot of the one before it: that chunk's size while it is free, its caller's last word
while it is in use. So a chunk in use costs one word, its head: the size, and in its low bits whether the chunk and
the one before it are in use. A chunk with neither bit is a mapping of its own (`dlmalloc_system`).

A heap with footers keeps that foot of a chunk in use for itself, and writes its mark there: its own address XOR a
random word, which nobody else can know. A heap has footers if its `magic` has a word, and that is decided when it is
compiled: without, not an instruction is left of them.

A heap here is any struct with `least_address`, `footprint` and `magic`; `dlmalloc` describes them.
"""

from __future__ import annotations

from heapwright.bits import align_up, below
from heapwright.layout import NULL, WORD, Struct, Word

ALIGNMENT = 16
LEAST_CHUNK = 32

PREVIOUS_USED, USED_BIT = 1, 2
BOTH_USED = PREVIOUS_USED | USED_BIT
FLAGS = 7


class Chunk(Struct):
    previous_size: Word  # the foot of the chunk before: its size while it is free, perhaps a mark while in use
    head: Word  # the size, and the two bits
    forward: Chunk  # in its bin; while free
    back: Chunk


HEADER = Chunk.forward.offset


# --- sizes and places


def has_footers(heap):
    return len(heap.magic) != 0


def overhead(heap):
    """Of a chunk in use: its head, and its foot if the heap has footers."""
    return 2 * WORD if has_footers(heap) else WORD


def chunk_size(heap, size):
    """The size of a chunk for a caller's `size` bytes."""
    return max(align_up(size + overhead(heap), ALIGNMENT), LEAST_CHUNK)


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


def use_first(heap, chunk, size):
    """Put the first bytes of a free chunk into use; what is left of it gets a head of its own."""
    chunk.head = size | BOTH_USED
    set_foot(heap, chunk, size)


def use_whole(heap, chunk, size):
    chunk.head = size | BOTH_USED
    plus(chunk, size).head |= PREVIOUS_USED
    set_foot(heap, chunk, size)


def resize_used(heap, chunk, size):
    """Change the size of a chunk in use, whatever lies before it."""
    chunk.head = chunk.head & PREVIOUS_USED | USED_BIT | size
    plus(chunk, size).head |= PREVIOUS_USED
    set_foot(heap, chunk, size)


def mark_free(chunk, size):
    """Write a free chunk's head and foot, where the chunk behind it already knows."""
    chunk.head = size | PREVIOUS_USED
    plus(chunk, size).previous_size = size


def mark_freed(chunk, size):
    """The same for a chunk that was in use until now."""
    plus(chunk, size).head &= ~PREVIOUS_USED
    mark_free(chunk, size)


def cut(heap, chunk, size, rest):
    """Put the first `size` bytes of a free chunk into use; the other `rest` bytes, a free chunk, or null if too few."""
    if rest < LEAST_CHUNK:
        use_whole(heap, chunk, size + rest)
        return chunk.at(NULL)
    use_first(heap, chunk, size)
    remainder = plus(chunk, size)
    mark_free(remainder, rest)
    return remainder


# --- footers


def mark_of(heap):
    return heap.address ^ heap.magic[0]


def set_foot(heap, chunk, size):
    """Mark a chunk in use as this heap's."""
    if has_footers(heap):
        plus(chunk, size).previous_size = mark_of(heap)


def wipe_foot(heap, chunk, size):
    """Take the mark off a chunk that falls free, so that nothing inside of free memory looks like one in use."""
    if has_footers(heap):
        plus(chunk, size).previous_size = 0


def has_mark(heap, chunk):
    """Whether a foot says that the chunk is this heap's; a size that cannot be leads to no foot."""
    return below(size_of(chunk), heap.footprint) and after(chunk).previous_size == mark_of(heap)


# --- guards


def live_chunk(heap, address):
    """The chunk of a block that is to be freed or resized."""
    chunk = chunk_of(heap, address)
    if chunk.address < heap.least_address:
        heap.memory.fault("not a block of this heap", address)
    if not is_live(chunk):
        heap.memory.fault("double free", address)
    if has_footers(heap) and not has_mark(heap, chunk):
        heap.memory.fault("not a block of this heap, or somebody wrote behind its end", address)
    return chunk


def must_be_ours(heap, link):
    """Links lie in freed memory, where a program may still write: believe none that leads out of the heap."""
    if link.address < heap.least_address:
        corrupted(heap, link.address)


def must_agree(heap, agree, chunk):
    if not agree:
        corrupted(heap, chunk.address)


def corrupted(heap, address):
    heap.memory.fault("corrupted heap", address)
