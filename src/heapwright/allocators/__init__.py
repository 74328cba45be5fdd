"""The allocators, one file each, in teaching order."""

from __future__ import annotations

ALLOCATORS = (
    "pages",
    "kr",
    "linked_list",
    "slab",
    "pages_split",
    "dlmalloc",
    "ptmalloc",
    "hoard",
)
