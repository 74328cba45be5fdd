"""The version of glibc that ptmalloc follows: 2.43, or 2.36 as the variant `ptmalloc[VERSION=236]`.

Source: glibc malloc/malloc.c, as of 2.36 and of 2.43.

                           2.36                                       2.43
    freed, up to 128 bytes waits in a fast bin, unmerged: `fast_bins` merges at once
    freed and merged       goes to the unsorted list                  a small chunk goes to its small bin
    the cache              keeps 7 chunks of a size, and serves       keeps 16 chunks of a size, and serves
                           neither calloc nor aligned requests        every request
    pieces cut off         are freed as blocks are: the cache may     merge at once
                           take them
    an aligned request     takes 48 bytes more at first, and leaves   takes 32 bytes more at first, and leaves
                           less than 48 bytes behind it               less than 32 bytes behind it
    the thresholds         adapt to the length of a mapping           adapt to the size of its chunk
    trim                   leaves the caches as they are              empties the caller's cache, unlike glibc
    mallopt                merges what the fast bins keep, and sets   knows no M_MXFAST
                           their limit

The constants below are folded when a version is compiled, so neither version tests for the other at run time.
"""

from __future__ import annotations

VERSION = 243  # 243 or 236
IS_236 = VERSION == 236
FAST_BINS = 10 if IS_236 else 0  # for chunks of 32, 48, ... 160 bytes, and one that is never used, as in glibc
FAST_LIMITS = 1 if IS_236 else 0  # words of the heap for the limit of the fast bins
ROOM = 7 if IS_236 else 16  # chunks of each size in a cache
MAPPING_END = 16 if IS_236 else 0  # last bytes of a mapping that count for the thresholds
MAPPING_FLAG = 2 if IS_236 else 0  # a flag of the head that counts for them, too
MIN_TAIL = 48 if IS_236 else 32  # bytes behind an aligned chunk that are worth a chunk
ALIGN_SLACK = 48 if IS_236 else 32  # bytes beyond size and alignment that an aligned request takes at first
