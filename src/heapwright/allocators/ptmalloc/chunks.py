"""The chunks of ptmalloc: a chunk has two boundary tags, and one in use pays for a single one.

Source: glibc malloc/malloc.c, "malloc_chunk details"; D. Knuth, The Art of Computer Programming 1, section 2.5.

      in use                              free
      chunk -> +--------------------+     +--------------------+
             0 | previous_size      |     | previous_size      |  only if the chunk before is free; else its payload
             8 | K | size   | A M P |     | size       |    1  |
    address -> +--------------------+     +--------------------+
            16 | the caller's bytes |     | forward            |  in a circular list through its bin
            24 |                    |     | back               |
            32 |                    |     | smaller            |  large chunks: the next size in the bin, or null
            40 |                    |     | larger             |
       size -> +--------------------+     +--------------------+
               | more of them       |     | size again         |  the next chunk's previous_size
               +--------------------+     +--------------------+

P (1): the chunk before is in use. So the next chunk's P bit says whether this chunk is in use. M (2): the chunk has its
own mapping, or it belongs to the allocator: a thread's cache or a fence. A (4): the chunk's arena is not the main one;
only chunks in use set it. K (bit 62): the chunk is kept in a thread's cache or a fast bin, and its arena counts it as
in use. A chunk that merged into another one also has K set in its old head, until its memory is handed out again.

glibc has no K. It writes a random key into the second word of a cached chunk, so on every free it must read memory that
the program may never have written. K also detects a double free by another thread. K has a half of the head to itself,
because the cache's thread writes it without a lock while other threads may write P: hence `Halves`.

In a chunk with its own mapping, `previous_size` is its distance from the start of the mapping, not 0 after a larger
alignment. The mapping's first word repeats it, and its second word has M set, so the chunk can be found from either
end.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word, Word32

UNIT = 16
HEADER = 16  # from a chunk to its address
OVERHEAD = 8  # bytes that a chunk in use costs beyond the caller's
MIN_CHUNK = 32  # the smallest chunk
PREVIOUS_IN_USE, MAPPED, NON_MAIN = 1, 2, 4
KEPT_HALF = 1 << 30  # in the upper half of a head
KEPT = KEPT_HALF << 32
FLAGS = KEPT | 15


class Chunk(Struct):
    previous_size: Word
    head: Word  # size and flags
    forward: Chunk
    back: Chunk
    smaller: Chunk
    larger: Chunk


class Halves(Struct):
    """The head of a chunk in use, split so that two threads may write it at the same time."""

    lower: Word32
    upper: Word32  # zero, unless the chunk is kept or has 4 GiB or more


def chunk_of(heap, address):
    return Chunk(heap.memory, address - HEADER)


def address_of(chunk):
    return chunk.address + HEADER


def chunk_size_for(size):
    """The size of a chunk for a request of `size` bytes."""
    return max(MIN_CHUNK, (size + OVERHEAD + UNIT - 1) & -UNIT)


def size_of(chunk):
    return chunk.head & ~FLAGS


def usable_in(chunk):
    return size_of(chunk) - OVERHEAD


def offset_by(chunk, distance):
    return chunk.at(chunk.address + distance)


def next_of(chunk):
    return offset_by(chunk, size_of(chunk))


def previous_of(chunk):
    """The chunk before, which must be free."""
    return offset_by(chunk, -chunk.previous_size)


def is_mapped(chunk):
    return chunk.head & MAPPED != 0


def halves_of(chunk):
    return Halves(chunk.memory, chunk.address + Chunk.head.offset)


def say_previous_used(chunk):
    """Set P: the chunk before is in use. The caller holds the arena's lock."""
    halves_of(chunk).lower |= PREVIOUS_IN_USE


def say_previous_free(chunk):
    halves_of(chunk).lower &= ~PREVIOUS_IN_USE


def is_kept(chunk):
    return chunk.head & KEPT != 0


def follows_used(chunk):
    return chunk.head & PREVIOUS_IN_USE != 0


def is_in_use(chunk):
    return follows_used(next_of(chunk))


def make_free(chunk, size):
    """Write both tags of a free chunk; the chunk before it is in use."""
    chunk.head = size | PREVIOUS_IN_USE
    next_of(chunk).previous_size = size


def set_size(chunk, size):
    """Change the size of a chunk in use, and keep its flags."""
    chunk.head = size | chunk.head & FLAGS
