"""A specimen, not an allocator to use: the PageAllocator of a conversation, with its defects, told in the dialect.

Source: the conversation of docs/errata.md, section C: a Rust GlobalAlloc over mmap. `page_allocator_defects.py` shows
each of its defects, and that ours are without them.

      A block in use                               A free block: there is none

    address -> +-----------------------+
             0 | the caller's bytes    |
               | up to the end of      |
               | a page                |
               +-----------------------+

The defects, by what does them:

    C2   nobody looks at the alignment
    C3   a block of one byte takes a page
    C4   each block takes a system call, and another one when it is freed
    C5   sizes are padded, then rounded up once more; the sum leaves the numbers that sizes are
    C6   a page is taken to have 4096 bytes
    C7   no alloc_zeroed and no realloc, so what stands in for them clears zeros and copies
    C8   nobody asks whether the kernel took the pages back
    C9   a block of no bytes is null, which means that there is no memory
    C12  nothing is kept, not even what is in use

C1 and C11, what its compiler and its libraries had to say, do not survive the translation. C10 says that each block is
a mapping, which is less bad than it looks. `walk` and `check` are added here.
"""

from __future__ import annotations

from heapwright.layout import NULL, Struct, Word
from heapwright.spans import USED

THREADS = "own"
WALK = "extents"

PAGE_SIZE = 4096  # C6


class Heap(Struct):
    nothing: Word  # C12


def padding_needed_for(size, align):
    return -size % align


def pages_for(size):
    size += padding_needed_for(size, PAGE_SIZE)  # C5
    return size // PAGE_SIZE + (size % PAGE_SIZE != 0)  # C3


def alloc(heap, size, align):  # C2
    if size == 0:
        return NULL  # C9
    address = heap.memory.mmap(pages_for(size) * PAGE_SIZE)  # C4
    return NULL if address == -1 else address


def dealloc(heap, address, size, align):
    heap.memory.munmap(address, pages_for(size) * PAGE_SIZE)  # C4, C8


# --- looking at it


def walk(heap, start, end):
    yield start, end - start, USED


def check(heap, start, end):
    """It states no invariants."""
