"""The options of ptmalloc, set by mallopt(3) or, before the heap opens, by the environment.

Source: glibc malloc/malloc.c (__libc_mallopt, do_set_mmap_threshold and its like), malloc/arena.c (__ptmalloc_init),
elf/dl-tunables.list, as of 2.43; man-pages mallopt(3).

      option of mallopt   environment              tunable glibc.malloc.
      M_TRIM_THRESHOLD    MALLOC_TRIM_THRESHOLD_   trim_threshold   a free top of so many bytes goes back
      M_TOP_PAD           MALLOC_TOP_PAD_          top_pad          bytes to take beyond what is needed, and to keep
      M_MMAP_THRESHOLD    MALLOC_MMAP_THRESHOLD_   mmap_threshold   chunks of so many bytes have a mapping each
      M_MMAP_MAX          MALLOC_MMAP_MAX_         mmap_max         the most chunks that have one
      M_PERTURB           MALLOC_PERTURB_          perturb          fills freed chunks; its inverse fills new ones
      M_ARENA_MAX         MALLOC_ARENA_MAX         arena_max        the most arenas
      M_ARENA_TEST        MALLOC_ARENA_TEST        arena_test       arenas that there may be before there is a limit
      M_MXFAST                                     mxfast           largest request of the fast bins, up to 160 bytes
                                                   tcache_max       largest request of the caches, up to 1032 bytes
                                                   tcache_count     chunks of one size that a cache keeps
                                                   tcache_unsorted_limit
                                                                    chunks to sort once the cache has got one

As in glibc, setting one of the first four stops the automatic adjustment of the thresholds, M_PERTURB does not fill
chunks on their way into and out of caches, and mallopt returns 1 even for an unknown option. M_CHECK_ACTION and its
tunable are accepted but have no effect: since 2.34 glibc makes no further checks unless libc_malloc_debug is loaded.
M_MXFAST has an effect in the version of 2.36 only, because glibc has had no fast bins since 2.43.
glibc.malloc.hugetlb is not supported.
"""

from __future__ import annotations

from heapwright import bits, locks, options
from heapwright.allocators.ptmalloc import bins, cache, chunks, fast_bins, state, version

MMAP_THRESHOLD = 131072  # initially; it rises to the largest mapping freed, up to MAX_MMAP_THRESHOLD
MAX_MMAP_THRESHOLD = 32 << 20
TRIM_THRESHOLD = 131072  # initially; then twice the mmap threshold
TOP_PAD = 131072
MAX_MAPPED = 65536
MAX_ARENAS = 16
ARENA_TEST = 8
MAX_ROOM = (1 << 16) - 1
MAX_PAD = bits.MAX_WORD // 4  # its sum with a request does not overflow


# --- opening


def open_once(heap):
    """Open the heap, unless it is open; the caller holds the lock of the list of arenas."""
    if heap.arenas == 0:
        open_heap(heap)


def open_heap(heap):
    """Initialise the fields of the heap."""
    bins.open_bins(heap.main)
    heap.mmap_threshold.store(MMAP_THRESHOLD)
    heap.trim_threshold.store(TRIM_THRESHOLD)
    heap.max_threshold.store(MAX_MMAP_THRESHOLD)
    heap.top_pad.store(TOP_PAD)
    heap.max_mapped.store(MAX_MAPPED)
    heap.arena_test = ARENA_TEST
    heap.cache_room = version.ROOM
    heap.cache_bins = state.CACHE_BINS
    heap.last_shared = heap.main
    if version.IS_236:
        heap.fast_limit[0] = fast_bins.DEFAULT_LIMIT
        take_setting(heap, options.M_MXFAST)
    for option in range(options.M_ARENA_MAX, 0):
        take_setting(heap, option)
    for option in range(options.TCACHE_MAX, options.TCACHE_UNSORTED_LIMIT + 1):
        take_setting(heap, option)
    heap.arenas = 1


def take_setting(heap, option):
    value = heap.memory.setting(option)
    if value != options.UNSET:
        apply(heap, option, value)


# --- at any time


def set_option(heap, option, value):
    """Set an option; return 1, or 0 if the value is not valid for it."""
    locks.acquire(heap.memory, heap.list_lock)
    open_once(heap)
    if version.IS_236:
        consolidate_main(heap)
    answer = apply(heap, option, value)
    locks.release(heap.memory, heap.list_lock)
    return answer


def consolidate_main(heap):
    """Empty the fast bins of the main arena, as mallopt of 2.36 does before it sets whatever it is."""
    locks.acquire(heap.memory, heap.main.lock)
    fast_bins.consolidate(heap.main)
    locks.release(heap.memory, heap.main.lock)


def apply(heap, option, value):
    """Set an option under the lock of the list of arenas; options of caches only before the heap opens."""
    if option == options.M_TRIM_THRESHOLD:
        return set_fixed(heap, heap.trim_threshold, as_size(value))
    if option == options.M_TOP_PAD:
        return set_fixed(heap, heap.top_pad, min(as_size(value), MAX_PAD))
    if option == options.M_MMAP_THRESHOLD:
        return set_fixed(heap, heap.mmap_threshold, as_size(value))
    if option == options.M_MMAP_MAX:
        return set_fixed(heap, heap.max_mapped, value)
    if option == options.M_PERTURB:
        heap.perturb.store(value)
    elif option == options.M_ARENA_TEST and value > 0:
        heap.arena_test = value
    elif option == options.M_ARENA_MAX and value > 0:
        heap.max_arenas = value
    elif option >= options.TCACHE_MAX:
        return set_cache(heap, option, value)
    return set_fast_limit(heap, value) if version.IS_236 and option == options.M_MXFAST else 1


def as_size(value):
    """A value as a size. A negative number becomes a very large one, as in C's conversion."""
    return value if value >= 0 else bits.MAX_WORD


def set_fixed(heap, cell, value):
    """Set one of the first four options, and stop adjusting the thresholds automatically."""
    heap.max_threshold.store(0)
    cell.store(value)
    return 1


def set_fast_limit(heap, value):
    """Set the largest request whose chunk a fast bin takes, up to 160 bytes; 0 for none."""
    if not 0 <= value <= fast_bins.MAX_LIMIT:
        return 0
    heap.fast_limit[0] = bits.align_down(value + chunks.OVERHEAD, chunks.UNIT)
    return 1


def set_cache(heap, option, value):
    """Set an option of the caches; return 0 if the value is not valid or the heap is already open."""
    if heap.arenas > 0:
        return 0
    if option == options.TCACHE_UNSORTED_LIMIT:
        heap.unsorted_limit = value
    elif option == options.TCACHE_COUNT and value <= MAX_ROOM:
        heap.cache_room = value
    elif option == options.TCACHE_MAX and value <= cache.MAX_CACHED:
        heap.cache_bins = cache.bin_for(value) + 1
    else:
        return 0
    return 1
