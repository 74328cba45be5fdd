"""Memory images of glibc heaps, written by the offsets that each version's source has; none of them from our structs.

An image has a main arena with a cache, a free chunk, a fast chunk (until 2.42) and a top, and a thread's arena in a
segment of its own. `EXPECTED` is what a look must find.
"""

from __future__ import annotations

import struct

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.mappings import Mapping, MappingMap
from heapwright.live.pages import PAGE, Pages
from heapwright.live.source import Source

DATA, BREAK, SEGMENT, MAPPED = 0x7F0000000000, 0x555555600000, 0x7F0040000000, 0x7F0010000000
HEAP_BYTES = 0x21000

# (minor version): arena's top, bins, next, system_mem, size; malloc_par's n_mmaps, mmapped_mem, sbrk_base, tcache_bins
ARENA_31 = {"top": 96, "bins": 112, "next": 2160, "system": 2184, "size": 2200}
ARENA_43 = {"top": 8, "bins": 24, "next": 2072, "system": 2096, "size": 2112}
PAR_31 = {"n_mmaps": 40, "mmapped_mem": 56, "sbrk_base": 72, "tcache_bins": 80}
PAR_35 = {"n_mmaps": 60, "mmapped_mem": 80, "sbrk_base": 96, "tcache_bins": 104}
PAR_43 = {"n_mmaps": 68, "mmapped_mem": 88, "sbrk_base": 104, "tcache_bins": 112}
VERSIONS = {
    31: (ARENA_31, PAR_31, 32, 7),
    34: (ARENA_31, PAR_31, 32, 7),
    35: (ARENA_31, PAR_35, 48, 7),
    42: (ARENA_31, PAR_35, 48, 7),
    43: (ARENA_43, PAR_43, 48, 16),
}


class FakeSource(Source):
    """Memory that a test wrote, all of it resident but for the pages that `swapped_out` has."""

    knows_residency = True
    pid = None
    name = "image"

    def __init__(self):
        super().__init__()
        self.memory = {}
        self.swapped_out = set()
        self.mappings = MappingMap([])

    def map(self, start, size, path=""):
        self.memory[start] = bytearray(size)
        mappings = [*self.mappings, Mapping(start, start + size, "rw-p", path=path, resident=size, swapped=0)]
        self.mappings = MappingMap(mappings)

    def place(self, address):
        for start, data in self.memory.items():
            if start <= address < start + len(data):
                return data, address - start
        raise Unreadable(address, "nothing is mapped there")

    def write(self, address, form, *values):
        data, at = self.place(address)
        struct.pack_into(f"<{form}", data, at, *values)

    def read(self, address, size):
        data, at = self.place(address)
        return bytes(data[at : at + size])

    def fill(self, target, start, present):
        for index in np.flatnonzero(present).tolist():
            page = self.read(start + index * PAGE, PAGE)
            target[index * PAGE : (index + 1) * PAGE] = np.frombuffer(page, np.uint8)
        return np.array(present)

    def pages(self, start, end):
        swapped = np.array([place in self.swapped_out for place in range(start, end, PAGE)], bool)
        return Pages(~swapped, swapped)

    def open_file(self, mapping):
        return None


def image_of(version, segment_at=SEGMENT):
    """A process with glibc 2.`version`, without any file that would say so."""
    arena, par, segment, depth = VERSIONS[version]
    source = FakeSource()
    source.map(DATA, 0x4000)
    source.map(BREAK, HEAP_BYTES, "[heap]")
    source.map(segment_at, HEAP_BYTES)
    source.map(MAPPED, 0x40000)
    main, other = DATA + 0x1C60, segment_at + segment
    write_parameters(source, version, DATA + 0x340, par, depth)
    first = segment_at + segment + arena["size"] + 15 & -16
    write_segment(source, segment_at, segment, other)
    write_heap(source, version, arena, main, BREAK, BREAK, BREAK + HEAP_BYTES, is_main=True)
    write_heap(source, version, arena, other, segment_at, first, segment_at + HEAP_BYTES, is_main=False)
    source.write(main + arena["next"], "Q", other)
    source.write(other + arena["next"], "Q", main)
    write_mapped(source, version)
    return source


def write_parameters(source, version, place, par, depth):
    source.write(place, "5Q", 0x20000, 0x20000, 0x20000, 8, 0)
    source.write(place + par["n_mmaps"], "4I", 1, 65536, 1, 0)
    source.write(place + par["mmapped_mem"], "2Q", 0x30000, 0x30000)
    source.write(place + par["sbrk_base"], "Q", BREAK)
    source.write(place + par["tcache_bins"], "3Q", 64, 0x408, depth)


def write_segment(source, place, size, arena):
    source.write(place, "4Q", arena, 0, HEAP_BYTES, HEAP_BYTES)
    if size == 48:
        source.write(place + 32, "Q", PAGE)


def write_heap(source, version, arena, place, start, first, end, is_main):
    """Cache, two cached chunks, used, free, used, fast or used, used, top."""
    late = version >= 42
    cache_size = 0x300 if late else 0x290
    flag = 1 if is_main else 5
    sizes = [cache_size, 0x40, 0x40, 0x60, 0x2000, 0x50, 0x30, 0x70]
    places = [first + sum(sizes[:index]) for index in range(len(sizes) + 1)]
    for index, (at, size) in enumerate(zip(places, sizes, strict=False)):
        source.write(at + 8, "Q", size | flag if index != 4 else size | 1)
    free, top = places[4], places[8]
    source.write(places[5], "2Q", sizes[4], sizes[5] | flag & ~1)
    source.write(top + 8, "Q", end - top | 1)
    bins = place + arena["bins"]
    for index in range(127):
        source.write(bins + 16 * index, "2Q", *[bins + 16 * index - 16] * 2)
    bin_of_free = bins + 16 * 79
    source.write(bin_of_free, "2Q", free, free)
    source.write(free + 16, "2Q", bin_of_free - 16, bin_of_free - 16)
    source.write(place + arena["top"], "Q", top)
    source.write(place + arena["system"], "2Q", end - start, end - start)
    source.write(place, "2I", 0, 0 if is_main else 2)
    write_cache(source, version, places)
    if version < 43:
        source.write(place + 16 + 8 * 1, "Q", places[6])  # the bin of 48 bytes
        source.write(places[6] + 16, "Q", mangled(version, places[6] + 16, 0))


def write_cache(source, version, places):
    """Two chunks of 64 bytes in bin 2."""
    cache, one, two = places[0] + 16, places[1] + 16, places[2] + 16
    late, depth = version >= 42, VERSIONS[version][3]
    counts = [depth] * 76 if late else [0] * 64
    counts[2] = depth - 2 if late else 2
    source.write(cache, f"{len(counts)}H", *counts)
    source.write(cache + (152 if late else 128) + 16, "Q", one)
    source.write(one, "Q", mangled(version, one, two))
    source.write(two, "Q", mangled(version, two, 0))


def mangled(version, address, link):
    return link ^ (address >> 12) if version >= 32 else link


def write_mapped(source, version):
    size = 0x30000 - (16 if version >= 43 else 0)
    source.write(MAPPED + 0x4000, "2Q", 0, size | 2)
