"""Wright's huge blocks: more than 512 KiB, or aligned to that much. Each is a range of its own (slots).

The address alone says that a block is huge: it is a multiple of 1 MiB. A new one comes from a kept range if one fits,
and otherwise from the kernel. Live and kept huge bytes together never exceed 9/8 of the peak of the live ones and 1
MiB. The reserve says how many may be kept below that.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.wright import records, slots, tiles
from heapwright.layout import NULL


def alloc_huge(heap, size, align):
    """Allocate a huge block; return its address, or NULL when memory is exhausted."""
    huge, whole = heap.huge, bits.align_up(size, heap.memory.PAGE)
    locks.acquire(heap.memory, heap.pages.lock)
    found = huge.unused.at(NULL)
    if slots.has_record(heap):
        if align <= records.SEGMENT:
            found = slots.take_kept(heap, whole)
        if not found:
            found = slots.map_range(heap, whole, max(align, records.SEGMENT))
    if found:
        slots.count(heap, 1, found.size)
        tiles.settle(heap)
    locks.release(heap.memory, heap.pages.lock)
    return found.start if found else NULL


def dealloc_huge(heap, address):
    locks.acquire(heap.memory, heap.pages.lock)
    freed = live_huge(heap, address)
    slots.count(heap, -1, -freed.size)
    heap.reserve.frees += 1
    freed.is_fresh = 0
    slots.widen(heap, freed)
    slots.keep(heap, freed)
    tiles.settle(heap)
    locks.release(heap.memory, heap.pages.lock)


def live_huge(heap, address):
    """The record of a huge block in use; report any other address."""
    found = slots.find(heap, address)
    if not found:
        heap.memory.fault("not a block of this heap", address)
    if found.is_kept != 0:
        heap.memory.fault("double free", address)
    return found


def is_live(heap, address):
    """Whether a huge block in use begins at an address."""
    locks.acquire(heap.memory, heap.pages.lock)
    found = slots.find(heap, address)
    is_in_use = bool(found) and found.is_kept == 0
    locks.release(heap.memory, heap.pages.lock)
    return is_in_use


def huge_size(heap, address):
    locks.acquire(heap.memory, heap.pages.lock)
    size = live_huge(heap, address).size
    locks.release(heap.memory, heap.pages.lock)
    return size


def is_zero(heap, address):
    """Whether a huge block that was just allocated is full of zeros."""
    locks.acquire(heap.memory, heap.pages.lock)
    fresh = live_huge(heap, address).is_fresh
    locks.release(heap.memory, heap.pages.lock)
    return fresh != 0


def resize_huge(heap, address, size):
    """Resize the mapping in place; False if the kernel refuses, for example because another mapping is in the way."""
    whole = bits.align_up(size, heap.memory.PAGE)
    locks.acquire(heap.memory, heap.pages.lock)
    found = live_huge(heap, address)
    done = whole == found.size or heap.memory.mremap(address, found.size, whole, 0) != -1
    if done:
        slots.count(heap, 0, whole - found.size)
        found.size = whole
        tiles.settle(heap)
    locks.release(heap.memory, heap.pages.lock)
    return done
