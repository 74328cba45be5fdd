"""The allocators, one file each, in teaching order."""

from __future__ import annotations

ALLOCATORS = (
    "pages",
    "kr",
    "linked_list",
    "segregated_storage",
    "buddy",
    "slab",
    "pages_split",
    "tlsf",
    "dlmalloc",
    "ptmalloc",
    "hoard",
)
