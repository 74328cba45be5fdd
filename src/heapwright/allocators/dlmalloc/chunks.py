"""Chunks with boundary tags, the foundation of dlmalloc.

A chunk begins with the foot of the previous chunk. The foot holds that chunk's size while it is free, and the caller's
last word while it is in use. So a chunk in use costs one word, its head: the size, and in its low bits whether the
chunk and the previous one are in use. A chunk with neither bit set is a mapping (`system`).

In a heap with footers, the foot of a chunk in use belongs to the allocator and holds the heap's mark: the heap's
address XOR a random word, which no other code can know. A heap has footers if its `magic` has a word. This is decided
at compile time; without footers, no instruction for them remains.

A heap here is any struct with `min_address`, `footprint` and `magic`; `dlmalloc` describes them.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.layout import NULL, WORD, Struct, Word

ALIGNMENT = 16
MIN_CHUNK = 32

PREVIOUS_USED, USED_BIT = 1, 2
BOTH_USED = PREVIOUS_USED | USED_BIT
FLAGS = 7


class Chunk(Struct):
    previous_size: Word  # the foot of the chunk before: its size while it is free; with footers, a mark while in use
    head: Word  # the size, and the two bits
    forward: Chunk  # in its bin, while it is free
    back: Chunk


HEADER = Chunk.forward.offset


# --- sizes and places


def has_footers(heap):
    return len(heap.magic) != 0


def overhead(heap):
    """The bytes that a chunk in use costs: its head, and its foot if the heap has footers."""
    return 2 * WORD if has_footers(heap) else WORD


def chunk_size(heap, size):
    """The size of a chunk for a caller's `size` bytes."""
    return max(bits.align_up(size + overhead(heap), ALIGNMENT), MIN_CHUNK)


def chunk_of(heap, address):
    return Chunk(heap.memory, address - HEADER)


def address_of(chunk):
    return chunk.address + HEADER


def size_of(chunk):
    return chunk.head & ~FLAGS


def offset_by(chunk, size):
    """The chunk `size` bytes further on."""
    return chunk.at(chunk.address + size)


def after(chunk):
    return offset_by(chunk, size_of(chunk))


def before(chunk):
    """The chunk before this one, which must be free: only then does its foot say where it begins."""
    return offset_by(chunk, -chunk.previous_size)


# --- the two bits


def is_used(chunk):
    return chunk.head & USED_BIT != 0


def is_previous_used(chunk):
    return chunk.head & PREVIOUS_USED != 0


def is_mapped(chunk):
    return chunk.head & BOTH_USED == 0


def is_live(chunk):
    """Whether a chunk is in use; a mapping always is."""
    return chunk.head & BOTH_USED != PREVIOUS_USED


def use_first(heap, chunk, size):
    """Put the first `size` bytes of a free chunk into use. The caller writes the head of the rest."""
    chunk.head = size | BOTH_USED
    set_foot(heap, chunk, size)


def use_whole(heap, chunk, size):
    chunk.head = size | BOTH_USED
    offset_by(chunk, size).head |= PREVIOUS_USED
    set_foot(heap, chunk, size)


def resize_used(heap, chunk, size):
    """Change the size of a chunk in use, and keep its PREVIOUS_USED bit."""
    chunk.head = chunk.head & PREVIOUS_USED | USED_BIT | size
    offset_by(chunk, size).head |= PREVIOUS_USED
    set_foot(heap, chunk, size)


def mark_free(chunk, size):
    """Write a free chunk's head and foot. The next chunk's PREVIOUS_USED bit is already clear."""
    chunk.head = size | PREVIOUS_USED
    offset_by(chunk, size).previous_size = size


def mark_freed(chunk, size):
    """Write a free chunk's head and foot, and clear the next chunk's PREVIOUS_USED bit."""
    offset_by(chunk, size).head &= ~PREVIOUS_USED
    mark_free(chunk, size)


def cut(heap, chunk, size, rest):
    """Put the first `size` bytes of a free chunk into use; return the other `rest` bytes as a free chunk.

    Return null if the rest is too small for a chunk; then all bytes are in use.
    """
    if rest < MIN_CHUNK:
        use_whole(heap, chunk, size + rest)
        return chunk.at(NULL)
    use_first(heap, chunk, size)
    remainder = offset_by(chunk, size)
    mark_free(remainder, rest)
    return remainder


# --- footers


def mark_of(heap):
    return heap.address ^ heap.magic[0]


def set_foot(heap, chunk, size):
    """Write this heap's mark into the foot of a chunk in use."""
    if has_footers(heap):
        offset_by(chunk, size).previous_size = mark_of(heap)


def wipe_foot(heap, chunk, size):
    """Wipe the mark of a freed chunk, so that nothing inside free memory looks like a chunk in use."""
    if has_footers(heap):
        offset_by(chunk, size).previous_size = 0


def has_mark(heap, chunk):
    """Whether the foot of a chunk has this heap's mark. A chunk of an impossible size has no foot to read."""
    return bits.unsigned_less(size_of(chunk), heap.footprint) and after(chunk).previous_size == mark_of(heap)


# --- guards


def must_be_ours(heap, link):
    """Report a link that leads out of the heap. Links lie in freed memory, where a faulty program may write."""
    if link.address < heap.min_address:
        corrupted(heap, link.address)


def must_agree(heap, agree, chunk):
    if not agree:
        corrupted(heap, chunk.address)


def corrupted(heap, address):
    heap.memory.fault("corrupted heap", address)
