"""What the kernel tells a process of itself."""

from __future__ import annotations

from heapwright.layout import Array, Byte, Struct
from heapwright.native import c
from heapwright.native.runtime.linux import OPEN_TO_READ, PAGE

LABEL = 6  # letters in `VmHWM:`


class Text(Struct):
    letters: Array[Byte, PAGE]


def resident_peak():
    """The most bytes that were resident so far: VmHWM of /proc/self/status; ru_maxrss survives exec."""
    text = c.on_stack(Text)
    file = c.c_open(c.text("/proc/self/status"), OPEN_TO_READ, 0)
    size = c.c_read(file, text.address, Text.SIZE)
    c.c_close(file)
    place = 0
    while place < size - LABEL and not is_label(text, place):
        place += 1
    return number_at(text, place + LABEL) * 1024


def is_label(text, place):
    """Whether `VmHWM:` stands at a place; no other label has these four letters there."""
    letters = text.letters
    return letters[place] == 86 and letters[place + 2] == 72 and letters[place + 3] == 87 and letters[place + 4] == 77


def number_at(text, place):
    """The first decimal number from a place on."""
    while not is_digit(text.letters[place]):
        place += 1
    number = 0
    while is_digit(text.letters[place]):
        number = number * 10 + text.letters[place] - 48
        place += 1
    return number


def is_digit(letter):
    """Whether a byte is one of the digits 0 to 9 in ASCII."""
    return 48 <= letter <= 57
