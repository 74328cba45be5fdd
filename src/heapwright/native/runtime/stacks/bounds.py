"""Which memory of a stack can be read: from the frame in hand up to the stack's end.

The main thread's stack ends where the kernel started the program. The C library puts a thread's descriptor at the end
of its stack, and notes where that begins. All other stacks (of coroutines, of signal handlers) are read a page at a
time, and the kernel is asked about each page first.

Source: glibc 2.34 to 2.43, nptl/descr.h; Linux, arch/x86/mm/mmap.c: no mapping lies within 128 MiB of the main stack.
"""

from __future__ import annotations

from heapwright.bits import align_down
from heapwright.native import c
from heapwright.native.runtime.kernel import is_mapped
from heapwright.native.runtime.linux import PAGE
from heapwright.native.runtime.stacks.encoded import word_at

MAIN_GAP = 1 << 27
DESCRIPTOR, DESCRIPTOR_END = 0x600, 0x800  # where in a descriptor the stack's start and size may be
MAX_FOREIGN = 64 * PAGE  # of another stack


def find_own_stack(words):
    """Note where the calling thread's stack is, unless it is the main thread or has a stack of the program's."""
    memory = c.process_memory()
    descriptor = c.pthread_self()
    for offset in range(DESCRIPTOR, DESCRIPTOR_END, 8):
        start = word_at(memory, descriptor + offset)
        size = word_at(memory, descriptor + offset + 8)
        if 0 < start < descriptor and start % PAGE == 0 and 0 < descriptor - start < size < descriptor:
            words.start = start
            words.end = descriptor
            return


def enter_stack(walk, address):
    """Note which memory of the stack at an address can be read. The page of the address itself can."""
    end = c.main_stack_end()
    walk.low = address
    walk.is_foreign = 0
    if end - MAIN_GAP < address < end:
        walk.high = end
    elif walk.own_start <= address < walk.own_end:
        walk.high = walk.own_end
    else:
        walk.is_foreign = 1
        walk.high = align_down(address, PAGE) + PAGE


def is_readable(walk, address):
    """Whether the word at an address is in the stack of the frame in hand."""
    if walk.low <= address <= walk.high - 8:
        return True
    return walk.is_foreign != 0 and address >= walk.low and reach(walk, address)


def reach(walk, address):
    """Ask the kernel about the pages of a foreign stack up to an address. Returns whether all can be read."""
    if address - walk.low > MAX_FOREIGN:
        return False
    while address > walk.high - 8:
        if not is_mapped(walk.high):
            return False
        walk.high += PAGE
    return True


def change_stack(walk, address):
    """Go on at an address of another stack, if its page can be read."""
    if address % 8 != 0 or address < PAGE or not is_mapped(address):
        return False
    enter_stack(walk, address)
    return True
