"""A line of text for standard error, formatted on the stack and written by the bare system call.

The C library's printf may allocate (glibc's dprintf did before 2.37) and takes stdio's locks; its `write` is a
cancellation point. A malloc that reports something can afford none of these.
"""

from __future__ import annotations

from heapwright.layout import Array, Byte, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.linux import WRITE

STANDARD_ERROR = 2
MAX_LETTERS = 248  # letters; a longer line is cut
BLANK, ZERO, LETTER_A, NEWLINE = 32, 48, 97, 10  # in ASCII


class Line(Struct):
    used: Word
    letters: Array[Byte, MAX_LETTERS]


class Text(Struct):
    """A constant C string with its zero byte."""

    letters: Array[Byte, MAX_LETTERS]


def put(line, letter):
    """Append one letter. The last place is reserved for the end of the line."""
    if line.used < MAX_LETTERS - 1:
        line.letters[line.used] = letter
        line.used += 1


def put_text(line, text):
    """Append the C string at an address."""
    letters = Text(line.memory, text).letters
    i = 0
    while letters[i] != 0:
        put(line, letters[i])
        i += 1


def put_number(line, number, width):
    """Append a number from 0 up, in decimal, padded on the left with blanks to `width` letters."""
    unit, digits = 1, 1
    while number // unit >= 10:
        unit *= 10
        digits += 1
    for _ in range(width - digits):
        put(line, BLANK)
    for _ in range(digits):
        put(line, ZERO + number // unit % 10)
        unit //= 10


def put_address(line, address):
    """Append an address as C prints one: 0x, then hexadecimal digits."""
    put(line, ZERO)
    put(line, 120)  # x
    shift = 60
    while shift > 0 and (address >> shift) & 15 == 0:
        shift -= 4
    while shift >= 0:
        digit = (address >> shift) & 15
        put(line, ZERO + digit if digit < 10 else LETTER_A + digit - 10)
        shift -= 4


def write_line(line):
    """End the line and write it to standard error. A signal may cut the call short."""
    line.letters[line.used] = NEWLINE
    end = line.letters.at(line.used + 1)
    start = line.letters.address
    while start < end:
        written = c.syscall(WRITE, STANDARD_ERROR, start, end - start, 0, 0)
        if written <= 0:
            return
        start += written


def write_number(label, number):
    """Write a line with a C string and a number."""
    line = c.on_stack(Line)
    line.used = 0
    put_text(line, label)
    put_number(line, number, 12)
    write_line(line)
