"""The figures of an allocator that is neither glibc's nor heapwright's, as far as they can be read from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Statistics:
    """Bytes of address space, according to the allocator's own records; None if they are unknown."""

    name: str
    version: str | None = None
    mapped_bytes: int | None = None  # from the kernel
    live_bytes: int | None = None  # usable bytes of live blocks; with cached ones, if those are unknown
    cached_bytes: int | None = None  # freed and kept by threads
    free_bytes: int | None = None  # between live blocks
    kept_bytes: int | None = None  # free whole pages that may be resident
    released_bytes: int | None = None  # free whole pages that the kernel got back
    own_bytes: int | None = None  # the allocator's records
    in_parts: bool = False  # whether its blocks were read and are counted among the parts
