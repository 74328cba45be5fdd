"""The kinds of spans. `walk` yields (start, size in bytes, kind) for each span of a heap."""

from __future__ import annotations

FREE = 0  # available for the next request
USED = 1  # one live block: its header, the caller's bytes and the rounding
CACHED = 2  # freed by the program, kept as it is for a request of its size: in a thread's cache or a fast bin
OWN = 3  # the allocator's own records
UNUSED = 4  # from the kernel and never handed out

KINDS = ("free", "used", "cached", "own", "unused")
