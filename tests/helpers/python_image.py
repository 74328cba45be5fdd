"""A memory image of CPython's arenas, written by the offsets that the source has; none of them from our structs.

Source: CPython 3.14, Include/internal/pycore_obmalloc.h, pycore_debug_offsets.h and Include/cpython/object.h. Its
program is a real ELF file with one symbol, so that the image is looked at as a process is.
"""

from __future__ import annotations

import struct

from glibc_image import FakeSource

from heapwright.live.mappings import Mapping, MappingMap

TEXT, DATA, BSS, ARENAS, TYPES = 0x555500000000, 0x555500010000, 0x555500014000, 0x7F1000000000, 0x555500011000
RUNTIME = 0x10100  # in the file
VECTOR = 0x555600000000  # of arenas' records, in memory from malloc
ARENA, POOL = 1 << 20, 1 << 14
ARENAS_AT = 512  # in _obmalloc_state
ORDERS = 5  # pools of 64-byte blocks, in each of the two arenas; one block in ten is used


def elf_of(symbol, address):
    """An ELF file with a segment of code and one of data with a .bss, and a table of one symbol."""
    names = b"\0" + symbol + b"\0"
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0x300, 0, 64, 56, 2, 64, 3, 0)
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0x10000, 0x10000, 0x1000)
    segments += struct.pack("<IIQQQQQQ", 1, 6, 0x10000, 0x10000, 0x10000, 0x4000, 0x8000, 0x1000)
    table = bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 0, 1, address, 8)
    sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 0, 11, 0, 0, 0x200, len(table), 2, 1, 8, 24)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 0x280, len(names), 0, 0, 1, 0)
    data = header + segments
    for place, part in ((0x200, table), (0x280, names), (0x300, sections)):
        data = data.ljust(place, b"\0") + part
    return data.ljust(0x14000, b"\0")


class PythonImage(FakeSource):
    """A process that runs an interpreter from a file."""

    def __init__(self, path, symbol=b"_PyRuntime"):
        super().__init__()
        self.path = path
        path.write_bytes(elf_of(symbol, RUNTIME))
        for start, size, flags, offset in ((TEXT, 0x10000, "r-xp", 0), (DATA, 0x4000, "rw-p", 0x10000)):
            self.memory[start] = bytearray(size)
            mapping = Mapping(start, start + size, flags, offset, "08:01", 7, str(path), size, 0)
            self.mappings = MappingMap([*self.mappings, mapping])
        self.map(BSS, 0x4000)

    def open_file(self, mapping):
        return self.path


def image_of(path, version=(3, 14), free_threaded=0, symbol=b"_PyRuntime"):
    source = PythonImage(path, symbol)
    hexadecimal = version[0] << 24 | version[1] << 16 | 0x08F0
    source.write(DATA + RUNTIME - 0x10000, "8s2Q", b"xdebugpy", hexadecimal, free_threaded)
    write_type(source, TYPES, TYPES, "type")
    write_type(source, TYPES + 0x400, TYPES, "Order")
    if not free_threaded:
        write_arenas(source)
    return source


def write_type(source, place, its_type, name):
    source.write(place, "IHHQ", 3 << 30, 0, 0, its_type)  # an immortal of 3.14, and its flags
    source.write(place + 24, "Q", place + 0x200)
    source.write(place + 0x200, f"{len(name) + 1}s", name.encode())


def write_arenas(source):
    """Two arenas; the table of used pools has one pool of its class, and an empty list for all other classes."""
    source.map(ARENAS, 2 * ARENA)
    source.map(VECTOR, 0x1000)
    for number in range(2):
        base = ARENAS + number * ARENA
        used = 2 * ORDERS
        source.write(VECTOR + 48 * number, "QQIIQQQ", base, base + used * POOL, ORDERS + 64 - used, 64, 0, 0, 0)
        free = [base + pool * POOL for pool in range(1, used, 2)]
        source.write(VECTOR + 48 * number + 24, "Q", free[0])
        for at, following in zip(free, [*free[1:], 0], strict=True):
            source.write(at + 16, "Q", following)
        source.write(VECTOR + 48 * number + 16, "I", len(free))
        for pool in range(0, used, 2):
            write_pool(source, base + pool * POOL, number)
    state = BSS + 0x100
    for index in range(32):
        pool = ARENAS if index == 3 else state + 16 * index - 16
        source.write(state + 16 * index, "2Q", pool, pool)
    for index in (7, 8):  # two more classes, so that there is something to vote for
        write_pool(source, ARENAS + ARENA + 2 * POOL * (index - 6), 1, size_index=index)
        source.write(state + 16 * index, "2Q", *[ARENAS + ARENA + 2 * POOL * (index - 6)] * 2)
    source.write(state + ARENAS_AT, "QI", VECTOR, 2)


def write_pool(source, place, arena, size_index=3):
    """Blocks of one class, one in ten used and the others on the list of free ones; the last tenth was never used."""
    size = 16 * (size_index + 1)
    capacity = (POOL - 48) // size
    touched = capacity - capacity // 10
    free = [index for index in range(touched) if index % 10]
    links = [place + 48 + size * index for index in free]
    source.write(
        place, "IIQQQIIII", touched - len(free), 0, links[0], 0, 0, arena, size_index, 48 + size * touched, POOL - size
    )
    for at, following in zip(links, [*links[1:], 0], strict=True):
        source.write(at, "Q", following)
    for index in range(0, touched, 10):
        source.write(place + 48 + size * index, "IHHQ", 1, 0, 0, TYPES + 0x400)
