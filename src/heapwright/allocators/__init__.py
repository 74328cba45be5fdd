"""The allocators, one file each, in teaching order."""

from __future__ import annotations

ALLOCATORS = (
    "kr",
    "linked_list",
    "dlmalloc",
    "ptmalloc",
    "hoard",
)
