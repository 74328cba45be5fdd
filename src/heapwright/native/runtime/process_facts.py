"""Facts about the process and its thread that the kernel reports."""

from __future__ import annotations

from heapwright.layout import Array, Byte, Struct, Word, Word32
from heapwright.native import c
from heapwright.native.runtime.linux import OPEN_TO_READ, PAGE
from heapwright.stats import UNREPORTED

LABEL = 6  # letters in `VmHWM:`
SELF = 0  # RUSAGE_SELF: all threads of this process


class Text(Struct):
    letters: Array[Byte, PAGE]


class Usage(Struct):
    """A struct rusage of sys/resource.h."""

    times: Array[Word, 4]
    sizes: Array[Word, 4]
    minor_faults: Word
    others: Array[Word, 9]


class ClockName(Struct):
    """A clockid_t. That of a thread's clock has the thread's number in its upper bits, inverted."""

    number: Word32


def kernel_thread():
    """The number that Linux gives the calling thread, from the name of its clock: no system call is needed."""
    name = c.on_stack(ClockName)
    c.pthread_getcpuclockid(c.pthread_self(), name.address)
    return ~(c.load_int(name.address) >> 3)


def resident_peak():
    """The peak of resident bytes: VmHWM of /proc/self/status, because ru_maxrss survives exec. Otherwise UNREPORTED."""
    text = c.on_stack(Text)
    file = c.c_open(c.text("/proc/self/status"), OPEN_TO_READ, 0)
    size = c.c_read(file, text.address, Text.SIZE)
    c.c_close(file)
    place = 0
    while place < size - LABEL and not is_label(text, place):
        place += 1
    return number_at(text, place + LABEL) * 1024 if place < size - LABEL else UNREPORTED


def is_label(text, place):
    """Whether `VmHWM:` is at a place. No other label has these four letters there."""
    letters = text.letters
    return letters[place] == 86 and letters[place + 2] == 72 and letters[place + 3] == 87 and letters[place + 4] == 77


def resident():
    """The bytes that are resident now, from the pages in /proc/self/statm (the second number). Otherwise UNREPORTED."""
    text = c.on_stack(Text)
    file = c.c_open(c.text("/proc/self/statm"), OPEN_TO_READ, 0)
    size = c.c_read(file, text.address, Text.SIZE)
    c.c_close(file)
    if size <= 0:
        return UNREPORTED
    place = 0
    while is_digit(text.letters[place]):
        place += 1
    return number_at(text, place) * PAGE


def page_faults():
    """The number of minor page faults: those in which the kernel provided a page without the disk."""
    usage = c.on_stack(Usage)
    c.getrusage(SELF, usage.address)
    return usage.minor_faults


def number_at(text, place):
    """The first decimal number at or after a place."""
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
