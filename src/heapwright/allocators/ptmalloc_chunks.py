"""The chunks of ptmalloc: boundary tags, of which a chunk in use pays for one.

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

P (1): the chunk before is in use. M (2): the chunk has a mapping of its own, or is no program's: a thread's cache or a
fence. A (4): its arena is not the main one; only chunks in use say so. Whether a chunk is in use, the P of the next one
tells. K (bit 62): it is kept in a thread's cache, and in use for its arena.

K is not glibc's, which writes a random key into the second word of a cached chunk and so must read, of a chunk that
is freed, what the program may never have written. This bit finds the double free of another thread, too. It is alone
in its half of the head, for the cache's thread writes it without a lock, while others may write P: hence `Halves`.

A mapping: `previous_size` is the distance of the chunk from the mapping's start, where a larger alignment put it; the
mapping's first word repeats it, and its second has M set, so that the chunk is found from either end.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word, Word32

UNIT = 16
HEADER = 16  # from a chunk to its address
OVERHEAD = 8  # what a chunk in use costs beside the caller's bytes
LEAST = 32  # the smallest chunk
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
    """The head of a chunk in use, as two threads may write it at once."""

    lower: Word32
    upper: Word32  # zero, unless the chunk is kept, or of 4 GiB and more


def chunk_of(heap, address):
    return Chunk(heap.memory, address - HEADER)


def address_of(chunk):
    return chunk.address + HEADER


def chunk_size_for(size):
    """The size of a chunk for a request of `size` bytes."""
    return max(LEAST, (size + OVERHEAD + UNIT - 1) & -UNIT)


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
    """Say that the chunk before is in use; the arena's lock is held."""
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
    """Write both tags of a free chunk; nothing free lies before it."""
    chunk.head = size | PREVIOUS_IN_USE
    next_of(chunk).previous_size = size


def set_size(chunk, size):
    """Change the size of a chunk in use, and leave its flags."""
    chunk.head = size | chunk.head & FLAGS
