"""Large blocks of the slab allocator: pages of their own, under one lock.

They begin at a multiple of 64 KiB, where a slab has its head, so an address alone says what lies there.
"""

from __future__ import annotations

from heapwright.allocators.pages import alloc as alloc_pages
from heapwright.allocators.pages import dealloc as dealloc_pages
from heapwright.allocators.pages import known, resize, whole_pages
from heapwright.allocators.pages import trim as trim_pages
from heapwright.allocators.slab_caches import SLAB
from heapwright.locks import acquire, release


def is_object(address):
    """Whether an address is not one where large blocks begin."""
    return address & (SLAB - 1) != 0


def alloc_large(heap, size, align):
    acquire(heap.memory, heap.large_lock)
    address = alloc_pages(heap.large, size, max(align, SLAB))
    release(heap.memory, heap.large_lock)
    return address


def free_large(heap, address):
    acquire(heap.memory, heap.large_lock)
    dealloc_pages(heap.large, address, 0, SLAB)
    release(heap.memory, heap.large_lock)


def usable_large(heap, address):
    acquire(heap.memory, heap.large_lock)
    size = known(heap.large, address).size
    release(heap.memory, heap.large_lock)
    return size


def resize_large(heap, address, align, new_size):
    """The address of a large block with another number of pages, nothing copied; NULL if that cannot be."""
    acquire(heap.memory, heap.large_lock)
    pages = whole_pages(heap.large, new_size)
    moved = resize(heap.large, known(heap.large, address), pages, max(align, SLAB))
    release(heap.memory, heap.large_lock)
    return moved


def trim_large(heap):
    acquire(heap.memory, heap.large_lock)
    given_back = trim_pages(heap.large)
    release(heap.memory, heap.large_lock)
    return given_back
