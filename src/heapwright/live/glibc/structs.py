"""The records of glibc's malloc, version by version.

Source: glibc malloc/malloc.c (malloc_state, malloc_par, tcache_perthread_struct) and malloc/arena.c (heap_info), 2.31
to 2.43. What differs:

    2.32   links of fast bins and of threads' caches are mangled with their own address ("safe-linking")
    2.35   heap_info has the page size of its mapping, so everything behind it lies 16 bytes further
    2.42   a cache has 76 bins, and counts the room left in each; it is made by the first request that it could serve
    2.43   no fast bins; a cached bin holds 16 chunks; the size of a mapped chunk leaves out its header
"""

from __future__ import annotations

from typing import Any, NamedTuple

from heapwright.layout import Array, Struct, StructMeta, Word, Word16, Word32

BINS = 128  # bin 0 does not exist; 1 is the unsorted one
UNSORTED, MIN_LARGE = 1, 64
FAST_BINS = 10
SEGMENT_BYTES = 64 << 20
OTHER_SEGMENT_BYTES = (8 << 20, 4 << 30)  # 2.35 to 2.41 with glibc.malloc.hugetlb: four huge pages
NONCONTIGUOUS = 2
NEWEST = 43


class Arena(Struct):
    """malloc_state until 2.42."""

    mutex: Word32
    flags: Word32
    have_fast_chunks: Word32
    fast_bins: Array[Word, FAST_BINS]
    top: Word
    last_remainder: Word
    bins: Array[Word, 2 * BINS - 2]  # forward and back of each, from bin 1 on
    map: Array[Word32, 4]
    next: Word  # a ring of all arenas, the main one first
    next_free: Word
    attached_threads: Word
    system_bytes: Word
    peak_system_bytes: Word


class ArenaWithoutFastBins(Struct):
    """malloc_state since 2.43."""

    mutex: Word32
    flags: Word32
    top: Word
    last_remainder: Word
    bins: Array[Word, 2 * BINS - 2]
    map: Array[Word32, 4]
    next: Word
    next_free: Word
    attached_threads: Word
    system_bytes: Word
    peak_system_bytes: Word


class Parameters(Struct):
    """malloc_par until 2.34; the names of the fields are glibc's."""

    trim_threshold: Word
    top_pad: Word
    mmap_threshold: Word
    arena_test: Word
    arena_max: Word
    n_mmaps: Word32
    n_mmaps_max: Word32
    max_n_mmaps: Word32
    no_dyn_threshold: Word32
    mmapped_mem: Word
    max_mmapped_mem: Word
    sbrk_base: Word
    tcache_bins: Word
    tcache_max_bytes: Word
    tcache_count: Word


class Parameters35(Struct):
    """malloc_par from 2.35 to 2.42."""

    trim_threshold: Word
    top_pad: Word
    mmap_threshold: Word
    arena_test: Word
    arena_max: Word
    thp_pagesize: Word
    hp_pagesize: Word
    hp_flags: Word32
    n_mmaps: Word32
    n_mmaps_max: Word32
    max_n_mmaps: Word32
    no_dyn_threshold: Word32
    mmapped_mem: Word
    max_mmapped_mem: Word
    sbrk_base: Word
    tcache_bins: Word
    tcache_max_bytes: Word
    tcache_count: Word


class Parameters43(Struct):
    """malloc_par since 2.43."""

    trim_threshold: Word
    top_pad: Word
    mmap_threshold: Word
    arena_test: Word
    arena_max: Word
    thp_mode: Word32
    thp_pagesize: Word
    hp_pagesize: Word
    hp_flags: Word32
    n_mmaps: Word32
    n_mmaps_max: Word32
    max_n_mmaps: Word32
    no_dyn_threshold: Word32
    mmapped_mem: Word
    max_mmapped_mem: Word
    sbrk_base: Word
    tcache_bins: Word
    tcache_max_bytes: Word
    tcache_count: Word


class Segment(Struct):
    """heap_info until 2.34: the head of a mapping of 64 MiB at a multiple of 64 MiB."""

    arena: Word
    previous: Word
    size: Word  # in use
    readable_bytes: Word


class Segment35(Struct):
    """heap_info since 2.35."""

    arena: Word
    previous: Word
    size: Word
    readable_bytes: Word
    page_size: Word
    padding: Word


class Cache(Struct):
    """tcache_perthread_struct until 2.41: how many chunks each bin holds, and the first one's address."""

    counts: Array[Word16, 64]
    entries: Array[Word, 64]


class Cache42(Struct):
    """tcache_perthread_struct since 2.42: how many more chunks each bin takes."""

    room: Array[Word16, 76]
    entries: Array[Word, 76]


class Layout(NamedTuple):
    """What a version of glibc has: its number (36 for 2.36) and its structs."""

    version: int
    arena: StructMeta
    parameters: StructMeta
    segment: StructMeta
    cache: StructMeta

    def arena_at(self, memory: Any, address: int) -> Any:
        return self.arena(memory, address)

    def parameters_at(self, memory: Any, address: int) -> Any:
        return self.parameters(memory, address)

    def segment_at(self, memory: Any, address: int) -> Any:
        return self.segment(memory, address)

    def cache_at(self, memory: Any, address: int) -> Any:
        return self.cache(memory, address)

    @property
    def has_fast_bins(self) -> bool:
        return self.version < 43

    @property
    def mangles_links(self) -> bool:
        return self.version >= 32

    @property
    def counts_room(self) -> bool:
        return self.version >= 42

    @property
    def cache_depth(self) -> int:
        """Chunks in a bin of a cache, unless a tunable says otherwise."""
        return 16 if self.version >= 43 else 7

    @property
    def mapped_head(self) -> int:
        """Bytes of a mapped chunk that its size leaves out."""
        return 16 if self.version >= 43 else 0

    @property
    def cache_chunk(self) -> int:
        """The size of the chunk that a cache lies in."""
        return self.cache.SIZE + 8 + 15 & -16

    @property
    def segment_sizes(self) -> tuple[int, ...]:
        """How large a segment may be, the usual size first."""
        return (SEGMENT_BYTES, *(OTHER_SEGMENT_BYTES if 35 <= self.version <= 41 else ()))


def layout_of(version: int) -> Layout:
    """The layout of glibc 2.`version`; of one that is newer than all known, the newest."""
    return Layout(
        version,
        Arena if version < 43 else ArenaWithoutFastBins,
        Parameters if version < 35 else Parameters35 if version < 43 else Parameters43,
        Segment if version < 35 else Segment35,
        Cache if version < 42 else Cache42,
    )


LAYOUTS = tuple(layout_of(version) for version in (36, 43, 42, 34, 31))  # one of each kind, the likeliest first
