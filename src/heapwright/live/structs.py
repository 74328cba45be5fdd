"""The kernel's records of pages, and the card of a heap of ours.

Source: Linux, Documentation/admin-guide/mm/pagemap.rst and include/uapi/linux/fs.h.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word


class Scan(Struct):
    """The argument of PAGEMAP_SCAN, struct pm_scan_arg."""

    size: Word
    flags: Word
    start: Word
    end: Word
    walk_end: Word
    ranges: Word
    range_count: Word
    max_pages: Word
    inverted: Word
    mask: Word
    any_of: Word
    returned: Word


class Range(Struct):
    """One run of pages that PAGEMAP_SCAN found, struct page_region."""

    start: Word
    end: Word
    categories: Word


class Card(Struct):
    """What a compiled heap of ours says of itself; the stack's text follows."""

    heap: Word
    start: Word  # where the runtime notes what sbrk gave: its start, its last section's start, and its end
    section: Word
    top: Word
