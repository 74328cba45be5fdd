"""The C library's functions that write a number of bytes, after a look at the block that they begin in.

They call the C library's own functions by the names that fortified programs use. These check a limit, and then do the
same work. So nothing must be looked up while a program is loaded. A number of bytes beyond the largest word ends the
program, as a fortified one.

Old programs may rely on a memcpy that is a memmove. Here it is one.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD
from heapwright.layers import inner
from heapwright.native import c

Heap = inner.Heap


def memcpy(heap, target, source, size):
    """Copy bytes; return `target`."""
    inner.expect_room(heap, target, size)
    return c.memmove_within(target, source, size, MAX_WORD)


def memmove(heap, target, source, size):
    """Copy bytes between ranges that may overlap; return `target`."""
    return memcpy(heap, target, source, size)


def mempcpy(heap, target, source, size):
    """Copy bytes; return the end of the copy."""
    return memcpy(heap, target, source, size) + size


def memset(heap, target, byte, size):
    """Store a byte many times; return `target`."""
    inner.expect_room(heap, target, size)
    return c.memset_within(target, byte, size, MAX_WORD)


def strcpy(heap, target, source):
    """Copy a string and its zero; return `target`."""
    return memcpy(heap, target, source, c.strlen(source) + 1)


def stpcpy(heap, target, source):
    """Copy a string and its zero; return the address of the zero in the copy."""
    size = c.strlen(source)
    return memcpy(heap, target, source, size + 1) + size


def strcat(heap, target, source):
    """Append a string; return `target`."""
    strcpy(heap, target + c.strlen(target), source)
    return target
