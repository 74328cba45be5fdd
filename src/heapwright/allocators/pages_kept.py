"""Pages from the kernel and back, for allocators that map what they need.

`munmap` may fail: cutting a hole may need one more mapping than the kernel allows (vm.max_map_count on Linux). Then
the range is kept and serves a later request of this heap; its frames go back to the kernel all the same.

      A kept range -> +--------------------+
                    0 | next               |
                    8 | size               |  whole pages
                   16 | zeros              |
                      +--------------------+

Thus whatever comes from here reads as zero. The length of what is given back is always that of what was mapped, or of
parts of it that make it up.
"""

from __future__ import annotations

from heapwright.allocators.chains import chain_of
from heapwright.bits import align_up, is_aligned
from heapwright.layout import NULL, Struct, Word


class Kept(Struct):
    next: Kept
    size: Word


class Pages(Struct):
    kept: Kept
    kept_bytes: Word


def take_pages(pages, size, align):
    """The address of zeroed pages, kept ones or new ones; NULL when memory is exhausted."""
    address = take_kept(pages, size, align, 0) if pages.kept else NULL
    return address if address != NULL else map_pages(pages, size, align)


def take_led(pages, size, align, lead):
    """The same, where not the pages themselves are aligned but what follows the first `lead` bytes."""
    address = take_kept(pages, size, align, lead) if pages.kept else NULL
    return address if address != NULL else map_roomy(pages, size, align, lead)


def map_pages(pages, size, align):
    """New pages: often they happen to be aligned, for mappings of one size lie side by side."""
    start = pages.memory.mmap(size)
    if start == -1:
        return NULL
    if is_aligned(start, align):
        return start
    give_back(pages, start, size)
    return map_roomy(pages, size, align, 0)


def map_roomy(pages, size, align, lead):
    """Map with room for the worst misfit, and give back what lies in front and behind."""
    room = size + align - pages.memory.PAGE
    start = pages.memory.mmap(room)
    if start == -1:
        return NULL
    address = align_up(start + lead, align) - lead
    give_back(pages, start, address - start)
    give_back(pages, address + size, start + room - address - size)
    return address


def give_back(pages, start, size):
    """Unmap pages, or keep what the kernel does not take; return how many bytes went."""
    if size == 0:
        return 0
    if pages.memory.munmap(start, size) == -1:
        keep(pages, start, size)
        return 0
    return size


def keep(pages, start, size):
    if pages.memory.decommit(start, size) == -1:
        pages.memory.fill(start, size, 0)
    kept = Kept(pages.memory, start)
    kept.next = pages.kept
    kept.size = size
    pages.kept = kept
    pages.kept_bytes += size


def take_kept(pages, size, align, lead):
    """Cut pages off the first kept range that is large enough and happens to be aligned; NULL if there is none."""
    before, kept = pages.kept.at(NULL), pages.kept
    while kept and not (kept.size >= size and is_aligned(kept.address + lead, align)):
        before, kept = kept, kept.next
    if not kept:
        return NULL
    rest = cut(kept, size)
    if before:
        before.next = rest
    else:
        pages.kept = rest
    pages.kept_bytes -= size
    kept.next = NULL
    kept.size = 0
    return kept.address


def cut(kept, size):
    """What follows a kept range in the list once its first `size` bytes are gone."""
    if kept.size == size:
        return kept.next
    rest = kept.at(kept.address + size)
    rest.next = kept.next
    rest.size = kept.size - size
    return rest


def offer_again(pages):
    """Offer the kernel what it did not take before; return how many bytes it took now."""
    kept, taken = pages.kept, 0
    pages.kept = NULL
    pages.kept_bytes = 0
    while kept:
        rest = kept.next
        taken += give_back(pages, kept.address, kept.size)
        kept = rest
    return taken


# --- looking at it


def kept_at(pages, address):
    """The bytes of the kept range that begins at an address; 0 if none does."""
    kept = pages.kept
    while kept and kept.address != address:
        kept = kept.next
    return kept.size if kept else 0


def kept_ranges(pages):
    """The (start, size) of each, for `check`."""
    return [(kept.address, kept.size) for kept in chain_of(pages.kept)]
