"""Toys of allocators, right as they are: tests replace some of their functions, or some of a source, by wrong ones."""

from types import SimpleNamespace

import pytest

from heapwright.layout import Struct, Word
from heapwright.machine import Fault
from heapwright.spans import FREE, USED


class Bump(Struct):
    """The words of a toy: it hands out sbrk memory from the bottom up, 16 bytes of header before each block."""

    first: Word
    last: Word


class Header(Struct):
    size: Word
    state: Word


def bump_alloc(heap, size, align):
    if size < 0 or size > 1 << 40:
        return 0
    room = (size + 15) // 16 * 16 + 16
    place = heap.memory.sbrk(room)
    if place == -1:
        return 0
    header = Header(heap.memory, place)
    header.size, header.state = room, USED
    return place + 16


def bump_dealloc(heap, address, size, align):
    Header(heap.memory, address - 16).state = FREE


def bump_realloc(heap, address, size, align, new_size):
    target = bump_alloc(heap, new_size, align)
    if target:
        heap.memory.copy(target, address, min(size, new_size))
        bump_dealloc(heap, address, size, align)
    return target


def bump_zeroed(heap, size, align):
    address = bump_alloc(heap, size, align)
    if address:
        heap.memory.fill(address, size, 0)
    return address


def bump_walk(heap, start, end):
    while start < end:
        header = Header(heap.memory, start)
        yield start, header.size, header.state
        start += header.size


def bump(**changes):
    """The toy, with some of its functions replaced by wrong ones."""
    functions = dict(
        Heap=Bump,
        alloc=bump_alloc,
        dealloc=bump_dealloc,
        realloc=bump_realloc,
        alloc_zeroed=bump_zeroed,
        usable_size=lambda heap, address: Header(heap.memory, address - 16).size - 16,
        walk=bump_walk,
        check=lambda heap, start, end: None,
        trim=lambda heap, pad: 0,
        thread_exit=lambda heap: None,
        fork_prepare=lambda heap: None,
        fork_parent=lambda heap: None,
        fork_child=lambda heap: None,
    )
    return SimpleNamespace(**{**functions, **changes})


def fault(call, *arguments, **options):
    with pytest.raises(Fault) as caught:
        call(*arguments, **options)
    return caught.value


NO_MEMORY = """
from heapwright.layout import NULL, Struct, Word


class Heap(Struct):
    word: Word


def alloc(heap, size, align):
    return NULL


def dealloc(heap, address, size, align):
    pass


def walk(heap, start, end):
    yield start, end - start, 1


def check(heap, start, end):
    pass
"""  # the source of an allocator that has none
