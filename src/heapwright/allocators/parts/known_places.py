"""A table of known headers, which tells whether the header of a freed address can be read.

An allocator that finds a header by masking an address would read unmapped memory if the program frees a foreign
address. So the heap has a table with a word for each multiple of 64 KiB where a header begins. The word holds a note on
the header:

        word = the last address of the 64 KiB  XOR  the note

One load and one XOR yield the note, or a number larger than any note. Places a multiple of 4 GiB apart share a word,
and the last one entered holds it. For the other one, the allocator asks the kernel whether the memory is mapped.

A header lies before its block and never at the same address, so the lookup uses the address minus one.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.layout import Array, Atomic, Struct, Word

BOUNDARY = 1 << 16  # a multiple of every page size
LOG2_BOUNDARY = bits.floor_log2(BOUNDARY)
WORDS = 1 << 16
NOTES = 1 << 15  # exclusive limit of notes
IS_LARGE = NOTES - 1  # the note on a large object


class Places(Struct):
    words: Array[Atomic[Word], WORDS]


def last_of(address):
    """The last address of the 64 KiB that contain the header of an address."""
    return (address - 1) | (BOUNDARY - 1)


def word_for(places, last):
    return places.words[bits.shift_right(last, LOG2_BOUNDARY) & (WORDS - 1)]


def note_of(places, address):
    """The note on the header of an address; a number of at least NOTES if there is none."""
    last = last_of(address)
    return word_for(places, last).load() ^ last


def remember(places, header, note):
    """Enter a header with its note into the table."""
    last = header | (BOUNDARY - 1)
    word_for(places, last).store(last ^ note)


def forget(places, start, size):
    """Remove all headers of a range from the table, before the range is unmapped."""
    for header in range(start, start + size, BOUNDARY):
        last = header | (BOUNDARY - 1)
        word = word_for(places, last)
        if bits.unsigned_less(word.load() ^ last, NOTES):
            word.store(0)
