"""The numbers of mallopt's options, as in glibc's malloc.h, and of options that only the environment can set.

`tune(heap, option, value)` accepts both kinds, and `memory.setting(option)` returns the initial value. Numbers of the
second kind lie beyond C's ints, so no program can pass them to mallopt.
"""

from __future__ import annotations

M_MXFAST = 1
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4
M_CHECK_ACTION = -5
M_PERTURB = -6
M_ARENA_TEST = -7
M_ARENA_MAX = -8

TCACHE_MAX = 1 << 32
TCACHE_COUNT = TCACHE_MAX + 1
TCACHE_UNSORTED_LIMIT = TCACHE_MAX + 2

SAMPLE_BYTES = TCACHE_MAX + 16  # of the layer `sampled`: bytes between two points, on average
SAMPLE_VARIABLE = "HEAPWRIGHT_SAMPLE"
USUAL_SAMPLE_BYTES, MAX_SAMPLE_BYTES = 1 << 19, 1 << 30

UNSET = -1  # the option is not set; settings are never negative
