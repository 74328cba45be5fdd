"""Hoard compiled: the same decisions as interpreted, and threads that free each other's objects at full speed."""

import ctypes
import random
import threading
import time
from pathlib import Path

import pytest

from heapwright.allocators import hoard_heaps, hoard_threads
from heapwright.allocators.hoard_inspect import superblocks_of, threads_of
from heapwright.allocators.hoard_superblocks import SUPERBLOCK
from heapwright.bits import shift_right, times
from heapwright.layout import Array, Atomic, Struct, Word
from heapwright.machine import start
from heapwright.native.library import emit, find_linker, stack_for

STACK = stack_for(str(Path(hoard_heaps.__file__).with_name("hoard.py")))
alloc, dealloc, walk = STACK.module.alloc, STACK.module.dealloc, STACK.module.walk
CELLS = 128

pytestmark = pytest.mark.slow


class Board(Struct):
    """Where threads leave objects for each other."""

    cells: Array[Atomic[Word], CELLS]


class Note(Struct):
    """What an object says of itself: its size in the first word, and in each byte behind that."""

    size: Word


def work(heap, board, seed, rounds):
    """Write an object, put it on the board, read and free the one that was there; return how many were spoilt."""
    spoilt = 0
    for _ in range(rounds):
        seed = times(seed, 6364136223846793005) + 1442695040888963407
        size = size_from(shift_right(seed, 33))
        address = alloc(heap, size, 16)
        heap.memory.fill(address, size, size & 127)
        Note(heap.memory, address).size = size
        cells = Board(heap.memory, board).cells
        spoilt += read_and_free(heap, cells[shift_right(seed, 20) & (CELLS - 1)].exchange(address))
    return spoilt


def size_from(number):
    """Mostly small, sometimes up to 4 KiB, rarely large."""
    if number & 1023 == 0:
        return 30_000 + (number >> 10) % 100_000
    return 16 + (number >> 10) % (200 if number & 7 else 4096)


def read_and_free(heap, address):
    """1 if the object does not hold what was written."""
    if address == 0:
        return 0
    note = Note(heap.memory, address)
    size = note.size
    if size > 24:
        last = Note(heap.memory, (address + size - 8) & -8).size & 127
        if last != size & 127:
            return 1
    dealloc(heap, address, size, 16)
    return 0


def measure_walk(heap, start, end):
    """Where a walk ends if its spans touch each other; else 0."""
    place = start
    for begin, size, _ in walk(heap, start, end):
        if begin != place:
            return 0
        place += size
    return place


def words_of(heap):
    return heap.address


class Live:
    """The process's own memory, for looking."""

    PAGE = 4096

    def load(self, address, size):
        kind = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_int64}[size]
        return kind.from_address(address).value


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    from heapwright.native.compiler import Export, compile_unit, object_of
    from heapwright.native.face import over_heap, unit_of

    unit = unit_of(STACK)
    more = {"work": (work, 3), "measure_walk": (measure_walk, 2), "words_of": (words_of, 0)}
    ours = tuple(Export(name, over_heap(STACK.module.Heap, *what), what[1]) for name, what in more.items())
    path = tmp_path_factory.mktemp("hoard") / "hoard.so"
    emit(object_of(compile_unit(unit._replace(exports=unit.exports + ours))), find_linker(), path)
    loaded = ctypes.CDLL(str(path))
    for export in unit.exports + ours:
        function = getattr(loaded, export.name)
        function.argtypes = [ctypes.c_long] * export.arity
        function.restype = ctypes.c_long if export.returns else None
    return loaded


@pytest.fixture
def heap(library):
    return STACK.module.Heap(Live(), library.words_of())


def all_superblocks(heap):
    heaps = [heap.processors[i] for i in range(1 + hoard_threads.PROCESSORS)]
    return [superblock for owner in heaps for _, superblock in superblocks_of(owner)]


def wait_for_exits(heap, living):
    """Python's join does not wait for what a thread still does as it ends."""
    while len(list(threads_of(heap))) - idle(heap) > living:
        time.sleep(0.01)


def idle(heap):
    thread, count = heap.roster.idle, 0
    while thread:
        thread, count = thread.idle, count + 1
    return count


def decisions(alloc, dealloc, realloc):
    """Where the objects of a story lie: the number of the superblock, by first appearance, and the offset in it.

    Where a mapping of its own lies is for the kernel to say.
    """
    rng, live, seen, places = random.Random(5), [], {}, []
    for _ in range(3000):
        size = rng.randrange(1, 200) if rng.random() < 0.8 else rng.randrange(1, 60_000)
        align = 16 if rng.random() < 0.9 else 1 << rng.randrange(4, 18)
        if live and rng.random() < 0.45:
            dealloc(live.pop(rng.randrange(len(live)))[0])
            continue
        if live and rng.random() < 0.2:
            address, align = live.pop()
            address = realloc(address, align, size)
        else:
            address = alloc(size, align)
        live.append((address, align))
        place = address // SUPERBLOCK if size <= 10_000 and address % SUPERBLOCK else 0
        places.append((seen.setdefault(place, len(seen)), address % SUPERBLOCK))
    for address, _ in live:
        dealloc(address)
    return places


def test_both_worlds_decide_alike(library, heap):
    machine = start(STACK)
    usable_size, realloc = library.heapwright_usable_size, library.heapwright_realloc
    compiled = decisions(
        library.heapwright_alloc,
        lambda address: library.heapwright_dealloc(address, 0, 16),
        lambda address, align, size: realloc(address, usable_size(address), align, size),
    )
    interpreted = decisions(machine.alloc, machine.dealloc, lambda address, align, size: machine.realloc(address, size))
    assert interpreted == compiled
    STACK.module.check(heap, 0, 1 << 62)


def test_threads_free_what_others_allocated(library, heap):
    board = ctypes.create_string_buffer(Board.SIZE + 8)
    place = (ctypes.addressof(board) + 7) & -8
    spoilt = []
    crew = [
        threading.Thread(target=lambda seed=seed: spoilt.append(library.work(place, seed, 300_000)))
        for seed in range(6)
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    wait_for_exits(heap, 1)
    assert spoilt == [0] * len(crew)
    STACK.module.check(heap, 0, 1 << 62)
    for superblock in all_superblocks(heap):
        end = superblock.address + SUPERBLOCK
        assert library.measure_walk(superblock.address, end) == end
    for k in range(CELLS):
        address = Live().load(place + 8 * k, 8)
        if address:
            library.heapwright_dealloc(address, 0, 16)
    library.heapwright_trim()
    assert heap.store.held.load() == 0, "what ended threads buffered went back, and so can everything"
    STACK.module.check(heap, 0, 1 << 62)
