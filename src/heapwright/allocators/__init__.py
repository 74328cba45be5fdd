"""The allocators in teaching order; each is a module or a package."""

from __future__ import annotations

ALLOCATORS = (
    "pages",
    "kr",
    "linked_list",
    "segregated_storage",
    "segregated_fits",
    "buddy",
    "slab",
    "pages_split",
    "tlsf",
    "dlmalloc",
    "ptmalloc",
    "hoard",
    "wright",
)
