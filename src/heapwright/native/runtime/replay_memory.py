"""What the replaying process learns of its heap: the bytes held, used and free, of whatever malloc it has."""

from __future__ import annotations

from heapwright.layout import NULL, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.mallinfo import Mallinfo2
from heapwright.native.runtime.replay_job import UNTOLD
from heapwright.native.runtime.replay_step import Size, Slot
from heapwright.stats import Stats


class Origin(Struct):
    """Where an address is from: Dl_info of dlfcn.h."""

    path: Word
    library: Word
    name: Word
    place: Word


def heap_bytes():
    """What the C library's malloc holds from the kernel."""
    info = c.on_stack(Mallinfo2)
    c.mallinfo2(info.address)
    return info.arena + info.hblkhd


def look(job, slots, sizes, place):
    """Fill in the Look at `place`: of blocks and their sizes, and what their malloc tells of the rest."""
    look_at_blocks(job, slots, sizes, place)
    place.held = place.free = place.largest_free = UNTOLD
    ask = c.address_if_any("heapwright_stats")
    if ask != 0:
        look_at_heap(place)
        if place.free != UNTOLD:
            place.largest_free = own_stats(ask, c.on_stack(Stats)).largest_free
    elif job.sample != 0:
        look_at_heap(place)


def look_at_blocks(job, slots, sizes, place):
    """Add up what the live blocks were asked for with, and what they may use."""
    is_told = is_usable_size_told()
    place.requested = 0
    place.granted = 0 if is_told else UNTOLD
    for i in range(job.slots):
        block = Slot(job.memory, slots + i * Slot.SIZE).block
        if block != NULL:
            place.requested += Size(job.memory, sizes + i * Size.SIZE).asked
            if is_told:
                place.granted += c.malloc_usable_size(block)


def is_usable_size_told():
    """Whether malloc_usable_size is of the library that malloc is of: another's knows nothing of the blocks."""
    return library_of(c.text("malloc")) == library_of(c.text("malloc_usable_size"))


def library_of(name):
    """The address of the library that a function is from."""
    origin = c.on_stack(Origin)
    c.dladdr(c.dlsym(0, name), origin.address)
    return origin.library


def look_at_heap(place):
    """Ask mallinfo2, ours or the C library's. Of mapped memory it does not tell what is free in there."""
    info = c.on_stack(Mallinfo2)
    c.mallinfo2(info.address)
    place.held = info.arena + info.hblkhd
    if info.arena != 0 or info.hblkhd == 0:
        place.free = info.fordblks


def own_heap_peak(job):
    """Our own libraries tell their peak exactly."""
    ask = c.address_if_any("heapwright_stats")
    if ask != 0:
        job.heap_peak = own_stats(ask, c.on_stack(Stats)).peak_heap_bytes


def own_stats(ask, stats):
    """Have one of our libraries fill in its numbers."""
    c.call(ask, stats.address)
    return stats
