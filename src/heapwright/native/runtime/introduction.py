"""What a recorded process says about itself at first: its command line, its number and its parent's."""

from __future__ import annotations

from heapwright.layout import Array, Byte, Struct
from heapwright.native import c
from heapwright.native.runtime.linux import CLOSE, CLOSE_ON_EXEC, HERE, OPEN_AT, OPEN_TO_READ, READ
from heapwright.native.runtime.process_facts import number_at

CLOSING = 41  # the parenthesis after a command's name


class Text(Struct):
    letters: Array[Byte, 128]


def introduce(process):
    """Fill in the kernel's facts about a process that was not forked from a recorded one."""
    read_file(c.text("/proc/self/cmdline"), process.command.address, len(process.command) - 1)
    text = c.on_stack(Text)
    length = read_file(c.text("/proc/self/stat"), text.address, Text.SIZE)
    while length > 0 and text.letters[length - 1] != CLOSING:
        length -= 1
    if length > 0:
        process.pid = number_at(text, 0)
        process.parent = number_at(text, length)


def read_file(path, place, size):
    """Read the beginning of a file. Returns the number of bytes, or -1."""
    file = c.syscall(OPEN_AT, HERE, path, OPEN_TO_READ | CLOSE_ON_EXEC, 0, 0)
    if file < 0:
        return -1
    length = c.syscall(READ, file, place, size, 0, 0)
    c.syscall(CLOSE, file, 0, 0, 0, 0)
    return length
