"""What `walk` says of each stretch of a heap: (start, size in bytes, one of these kinds)."""

from __future__ import annotations

FREE = 0  # may serve the next request
USED = 1  # one live block: its header, the caller's bytes and the rounding
CACHED = 2  # freed by the program, kept by a thread's cache
OWN = 3  # the allocator's own records
UNUSED = 4  # never handed out since the kernel gave it

KINDS = ("free", "used", "cached", "own", "unused")
