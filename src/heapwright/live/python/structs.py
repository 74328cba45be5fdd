"""The records of CPython's small-object allocator, 3.10 to 3.14.

Source: CPython Include/internal/pycore_obmalloc.h. An arena of 1 MiB is cut into pools of 16 KiB; a pool has blocks of
one class of sizes. An arena goes back to the kernel only as a whole, when all its pools are free.

    pool -> +------------------------+
          0 | count of used blocks   |
          8 | freeblock -> ... -> 0  |  freed blocks, plain links
         16 | nextpool, prevpool     |
         32 | arena index, class     |
         40 | nextoffset             |  blocks from here on were never used
         48 | blocks ...             |
            +------------------------+
"""

from __future__ import annotations

from heapwright.layout import Struct, Word, Word32

ARENA, POOL = 1 << 20, 1 << 14
STEP, CLASSES = 16, 32  # sizes are 16 to 512 bytes


class Pool(Struct):
    count: Word32
    padding: Word32
    free_block: Word
    next: Word
    previous: Word
    arena_index: Word32
    size_index: Word32
    next_offset: Word32
    max_next_offset: Word32


class ArenaObject(Struct):
    """What CPython keeps of an arena; the base is 0 in those that are not in use."""

    base: Word
    pool_address: Word  # pools from here on were never used
    free_pools: Word32
    all_pools: Word32
    free_list: Word
    next: Word
    previous: Word


class DebugOffsets(Struct):
    """The head of _Py_DebugOffsets, 3.13 and later; the offsets of other records follow."""

    cookie: Word
    version: Word  # as PY_VERSION_HEX: 0x030e00f0
    free_threaded: Word
