"""Pages from and to the kernel, for allocators that map what they need.

`munmap` may fail: a hole splits a mapping, and the process may have as many mappings as the kernel allows
(vm.max_map_count on Linux). Then the range is kept and serves a later request of this heap. Its frames are released all
the same.

      A kept range -> +--------------------+
                    0 | next               |
                    8 | size               |  whole pages
                   16 | zeros              |
                      +--------------------+

So all pages from here read as zeros. A caller gives back exactly the ranges that it took, whole or in parts.
"""

from __future__ import annotations

from heapwright import bits, stats
from heapwright.allocators.parts import chains
from heapwright.layout import NULL, Struct, Word


class Kept(Struct):
    next: Kept
    size: Word


class Pages(Struct):
    kept: Kept
    kept_bytes: Word


def take_pages(pages, size, align):
    """Take zeroed pages, kept or new ones; return their address, NULL when memory is exhausted."""
    address = take_kept(pages, size, align, 0) if pages.kept else NULL
    return address if address != NULL else map_pages(pages, size, align)


def take_led(pages, size, align, lead):
    """Take zeroed pages so that the address `lead` bytes behind their start is aligned; return the start, or NULL."""
    address = take_kept(pages, size, align, lead) if pages.kept else NULL
    return address if address != NULL else map_roomy(pages, size, align, lead)


def map_pages(pages, size, align):
    """Map new pages. They are often aligned at once, because mappings of one size lie side by side."""
    start = pages.memory.mmap(size)
    if start == -1:
        return NULL
    if bits.is_aligned(start, align):
        return start
    give_back(pages, start, size)
    return map_roomy(pages, size, align, 0)


def map_roomy(pages, size, align, lead):
    """Map with room for any alignment, and unmap the excess in front and behind."""
    room = size + align - pages.memory.PAGE
    start = pages.memory.mmap(room)
    if start == -1:
        return NULL
    address = bits.align_up(start + lead, align) - lead
    give_back(pages, start, address - start)
    give_back(pages, address + size, start + room - address - size)
    return address


def give_back(pages, start, size):
    """Unmap pages, or keep them if the kernel refuses; return the number of bytes unmapped."""
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
    """Cut pages off the first kept range that is large enough and suitably aligned; NULL if there is none."""
    before, kept = pages.kept.at(NULL), pages.kept
    while kept and not (kept.size >= size and bits.is_aligned(kept.address + lead, align)):
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
    """The successor of a kept range in the list once its first `size` bytes are taken: its rest, or the next range."""
    if kept.size == size:
        return kept.next
    rest = kept.at(kept.address + size)
    rest.next = kept.next
    rest.size = kept.size - size
    return rest


def offer_again(pages):
    """Try again to unmap the kept ranges; return the number of bytes unmapped."""
    kept, taken = pages.kept, 0
    pages.kept = NULL
    pages.kept_bytes = 0
    while kept:
        rest = kept.next
        taken += give_back(pages, kept.address, kept.size)
        kept = rest
    return taken


# --- inspection


def survey_kept(pages, account):
    """Count the kept ranges as free."""
    kept = pages.kept
    while kept:
        stats.add_free(account, 1, kept.size)
        kept = kept.next


def kept_at(pages, address):
    """The bytes of the kept range that begins at an address; 0 if none does."""
    kept = pages.kept
    while kept and kept.address != address:
        kept = kept.next
    return kept.size if kept else 0


def kept_ranges(pages):
    """The (start, size) of each kept range, for `check`."""
    return [(kept.address, kept.size) for kept in chains.chain_of(pages.kept)]
