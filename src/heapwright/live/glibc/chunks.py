"""The chunks of glibc, and the walk over them, which is compiled for large heaps.

Source: glibc malloc/malloc.c, "malloc_chunk details".

      in use                              free
      chunk -> +--------------------+     +--------------------+
             0 | the chunk before's |     | previous_size      |
             8 | size       | A M P |     | size       |     P |
      user  -> +--------------------+     +--------------------+
            16 | the caller's bytes |     | forward            |  in a circular list through its bin
            24 |                    |     | back               |
       size -> +--------------------+     +--------------------+
               | more of them       |     | size again         |

P (1): the chunk before is in use. M (2): the chunk has a mapping of its own. A (4): it belongs to a thread's arena. The
next chunk's P says whether this one is in use; chunks in a thread's cache and in fast bins count as in use.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word

UNIT = 16
HEADER = 16  # from a chunk to the caller's address
OVERHEAD = 8  # bytes that a chunk in use costs
MIN_CHUNK = 32
PREVIOUS_IN_USE, MAPPED, NON_MAIN = 1, 2, 4
FLAGS = 7


class Chunk(Struct):
    previous_size: Word
    head: Word  # size and flags
    forward: Word
    back: Word


class Note(Struct):
    """The place of one chunk."""

    place: Word


def size_of(chunk):
    return chunk.head & ~FLAGS


def next_of(chunk):
    return chunk.at(chunk.address + size_of(chunk))


def note_chunks(chunk, end, note, room):
    """Note the places of the chunks from `chunk` up to `end`, at most `room`. Returns their number.

    A chunk with an invalid size is the last one noted: a fence, a page that was not copied, or damage.
    """
    count = 0
    while count < room and chunk.address < end:
        note.place = chunk.address
        note = note.at(note.address + Note.SIZE)
        count += 1
        size = size_of(chunk)
        if size < UNIT or size % UNIT != 0 or size > end - chunk.address:
            return count
        chunk = chunk.at(chunk.address + size)
    return count


COMPILED = {"note_chunks": ((Chunk, None, Note, None), True)}  # the structs that its arguments point to; it answers
