"""The three settings of mallopt in dlmalloc: how much to take from the kernel at a time, and two thresholds.

The program's heap has them, and its spaces share them, as in the source, where they are global.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright import bits, options
from heapwright.layout import Struct, Word

MMAP_THRESHOLD = 256 << 10
TRIM_THRESHOLD = 2 << 20
M_GRANULARITY = options.M_TOP_PAD  # glibc gives this number to another option


class Settings(Struct):
    granularity: Word  # segments grow and shrink by multiples of this; 0 until the settings are first used
    mmap_threshold: Word
    trim_threshold: Word


def first_heap(heap):
    """The program's heap, which has the settings and the list of spaces, for itself or for one of its spaces."""
    return heap.first if heap.first else heap


def settings_of(heap):
    settings = first_heap(heap).settings
    if settings.granularity == 0:
        settings.granularity = heap.memory.PAGE
        settings.mmap_threshold = MMAP_THRESHOLD
        settings.trim_threshold = TRIM_THRESHOLD
    return settings


def tune(heap, option, value):
    """Set an option of mallopt; return 1, or 0 if it or the value does not exist. A negative threshold is infinite."""
    settings = settings_of(heap)
    if option == options.M_TRIM_THRESHOLD:
        settings.trim_threshold = unlimited(value)
    elif option == options.M_MMAP_THRESHOLD:
        settings.mmap_threshold = unlimited(value)
    elif option == M_GRANULARITY and value >= heap.memory.PAGE and bits.is_power_of_two(value):
        settings.granularity = value
    else:
        return 0
    return 1


def unlimited(value):
    return bits.MAX_WORD if value < 0 else value


# --- the limit of a heap's footprint


def in_units(heap, size):
    """A size rounded up to the granularity."""
    return bits.align_up(size, settings_of(heap).granularity)


def is_beyond_limit(heap, more):
    """Whether `more` bytes from the kernel would exceed the heap's limit, if it has one."""
    return heap.limit != 0 and heap.footprint + more > heap.limit


def set_limit(heap, size):
    """Limit the footprint; return the limit. A number beyond PTRDIFF_MAX, such as -1, lifts it, and the result is 0."""
    heap.limit = in_units(heap, max(size, 1)) if 0 <= size < bits.MAX_WORD // 2 else 0
    return heap.limit


def limit_of(heap):
    """The limit of the footprint, or -1, C's largest size_t."""
    return heap.limit if heap.limit != 0 else -1
