"""The memory of the replaying process: the bytes that its malloc holds, has in use and has free."""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.jobs.origin import library_of
from heapwright.native.jobs.replay_step import Size, Slot
from heapwright.native.runtime.mallinfo import Mallinfo2
from heapwright.stats import UNREPORTED, Stats


def heap_bytes():
    """The bytes that the C library's malloc holds from the kernel."""
    info = c.on_stack(Mallinfo2)
    c.mallinfo2(info.address)
    return info.arena + info.hblkhd


def look(job, slots, sizes, place):
    """Fill in the Look at `place` from the blocks and their sizes, and from what their malloc reports."""
    look_at_blocks(job, slots, sizes, place)
    place.held = place.free = place.largest_free = UNREPORTED
    ask = c.address_if_any("heapwright_stats")
    if ask != 0:
        look_at_heap(place)
        if place.free != UNREPORTED:
            place.largest_free = own_stats(ask, c.on_stack(Stats)).largest_free
    elif job.sample != 0:
        look_at_heap(place)


def look_at_blocks(job, slots, sizes, place):
    """Add up the requested and the usable bytes of the live blocks."""
    is_told = is_usable_size_told()
    place.requested = 0
    place.granted = 0 if is_told else UNREPORTED
    for i in range(job.slots):
        block = Slot(job.memory, slots + i * Slot.SIZE).block
        if block != NULL:
            place.requested += Size(job.memory, sizes + i * Size.SIZE).asked
            if is_told:
                place.granted += c.malloc_usable_size(block)


def is_usable_size_told():
    """Whether malloc_usable_size comes from the same library as malloc; otherwise it does not know the blocks."""
    return library_of(c.text("malloc")) == library_of(c.text("malloc_usable_size"))


def look_at_heap(place):
    """Ask mallinfo2, ours or the C library's. It does not report free memory inside mappings."""
    info = c.on_stack(Mallinfo2)
    c.mallinfo2(info.address)
    place.held = info.arena + info.hblkhd
    if info.arena != 0 or info.hblkhd == 0:
        place.free = info.fordblks


def own_heap_peak(job):
    """Take the exact peak from one of our own libraries, which report it."""
    ask = c.address_if_any("heapwright_stats")
    if ask != 0:
        job.heap_peak = own_stats(ask, c.on_stack(Stats)).peak_heap_bytes


def own_stats(ask, stats):
    """Have one of our libraries fill in its statistics."""
    c.call(ask, stats.address)
    return stats
