"""The structs that mallinfo and mallinfo2 fill in: glibc malloc.h."""

from __future__ import annotations

from heapwright.layout import Array, Struct, Word, Word32


class Mallinfo2(Struct):
    arena: Word
    ordblks: Word
    smblks: Word
    hblks: Word
    hblkhd: Word
    usmblks: Word
    fsmblks: Word
    uordblks: Word
    fordblks: Word
    keepcost: Word


class Mallinfo(Struct):
    """The old form: the same ten numbers as ints."""

    numbers: Array[Word32, 10]


class Words(Struct):
    """Mallinfo2 as ten numbers."""

    words: Array[Word, 10]
