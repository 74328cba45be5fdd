"""Hoard's large objects: one mapping each, and a store of freed ones for the next request of their class.

    mapping -> +--------------------+  a multiple of the superblock size S, as a superblock's header is
             0 | magic              |
             8 | size               |  of the mapping
            16 | lead               |  bytes before the address
            24 | size class         |  or -1: never kept
            32 | is fresh           |  whether its bytes are the kernel's zeros
            40 | next               |  while kept
               +--------------------+
    address -> | the caller's bytes |  at 64; further on for an alignment, and at S for one of S or more
               +--------------------+

What is freed is kept until the kept bytes exceed 1 MiB and a quarter of the most that was ever live: then all of it
goes back to the kernel.
"""

from __future__ import annotations

from heapwright.allocators.hoard_superblocks import SUPERBLOCK
from heapwright.allocators.huge_blocks import map_aligned
from heapwright.allocators.size_classes import class_of, size_of_class
from heapwright.bits import align_down, align_up
from heapwright.layout import NULL, Array, Atomic, Struct, Word
from heapwright.locks import acquire, release

LARGE_MAGIC = 0x0A11F0E7
KEPT_MAGIC = 0x0A11F0E8
LEAD = 64
MOST_KEPT = 1 << 25  # larger objects go back at once
SLOP = 1 << 20
LARGE_CLASSES = class_of(MOST_KEPT) + 1
NO_CLASS = -1


class LargeObject(Struct):
    magic: Word
    size: Word
    lead: Word
    size_class: Word
    is_fresh: Word
    next: LargeObject


class LargeObjects(Struct):
    """The words that large objects have in common."""

    lock: Atomic[Word]
    live: Word  # bytes of mappings in use
    most: Word  # the most there ever was of them
    kept: Word
    lists: Array[LargeObject, LARGE_CLASSES]


# --- large objects


def large_of(heap, address):
    return LargeObject(heap.memory, align_down(address - 1, SUPERBLOCK))


def address_in(large):
    return large.address + large.lead


def usable_in(large):
    return large.size - large.lead


def lead_for(align):
    """How far from a multiple of S an object lies that has this alignment."""
    return align_up(LEAD, align) if align < SUPERBLOCK else SUPERBLOCK


def map_large(heap, size, align):
    """A mapping of its own; null when the kernel refuses."""
    lead = lead_for(align)
    whole = align_up(lead + size, heap.memory.PAGE)
    boundary = max(align, SUPERBLOCK)
    large = LargeObject(heap.memory, map_aligned(heap.memory, whole, boundary, align_down(lead, SUPERBLOCK)))
    if large:
        large.magic = LARGE_MAGIC
        large.size = whole
        large.lead = lead
        large.size_class = NO_CLASS
        large.is_fresh = 1
    return large


def unmap_chain(heap, large):
    """Give mappings back; one that the kernel does not take stays mapped and is lost."""
    while large:
        rest = large.next
        heap.memory.munmap(large.address, large.size)
        large = rest


# --- the store


def take_kept(heap, size_class):
    """A kept object of a class; null if there is none."""
    store = heap.large
    acquire(heap.memory, store.lock)
    large = store.lists[size_class]
    if large:
        store.lists[size_class] = large.next
        store.kept -= large.size
        large.magic = LARGE_MAGIC
    release(heap.memory, store.lock)
    return large


def count_live(heap, more):
    store = heap.large
    acquire(heap.memory, store.lock)
    store.live += more
    store.most = max(store.most, store.live)
    release(heap.memory, store.lock)


def keep(heap, large):
    """Keep a freed object if the bound allows; return as a chain what goes back to the kernel instead."""
    store = heap.large
    bound = SLOP + (store.most >> 2)
    if large.size_class == NO_CLASS or large.size > bound:
        large.next = NULL
        return large
    chain = take_all(store) if store.kept + large.size > bound else large.at(NULL)
    large.magic = KEPT_MAGIC
    large.is_fresh = 0
    large.next = store.lists[large.size_class]
    store.lists[large.size_class] = large
    store.kept += large.size
    return chain


def take_all(store):
    """Everything kept, as one chain."""
    chain = store.lists[0]
    for size_class in range(LARGE_CLASSES):
        large = store.lists[size_class]
        store.lists[size_class] = NULL
        while large:
            rest = large.next
            large.next = chain
            chain = large
            large = rest
    store.kept = 0
    return chain


# --- what the allocator calls


def alloc_large(heap, size, align):
    """The address of `size` bytes in a mapping of their own, or NULL."""
    large = alloc_kept(heap, size) if align <= LEAD and size <= MOST_KEPT else map_large(heap, size, align)
    if not large:
        return NULL
    count_live(heap, large.size)
    return address_in(large)


def alloc_kept(heap, size):
    """A kept object, or a new one that has the size of its class and so may be kept."""
    size_class = class_of(size)
    large = take_kept(heap, size_class)
    if not large:
        large = map_large(heap, size_of_class(size_class), 1)
        if large:
            large.size_class = size_class
    return large


def free_large(heap, large):
    store = heap.large
    acquire(heap.memory, store.lock)
    store.live -= large.size
    chain = keep(heap, large)
    release(heap.memory, store.lock)
    unmap_chain(heap, chain)


def trim_large(heap):
    """Give back all that is kept; return its bytes."""
    store = heap.large
    acquire(heap.memory, store.lock)
    given_back = store.kept
    chain = take_all(store)
    release(heap.memory, store.lock)
    unmap_chain(heap, chain)
    return given_back
