"""A column's numbers, sorted into planes of bytes: interpreted, and compiled as the collector does it."""

import ctypes
import mmap

import pytest

from heapwright.memory import AddressMemory
from heapwright.native.library import functions_library, opened
from heapwright.traces.arrays import np
from heapwright.traces.conversion import passes, planes
from heapwright.traces.conversion.state import State

COLUMNS = {
    "none": [],
    "one": [300],
    "small": [3, 0, 255, 7] * 5,
    "a first time, then small": [1 << 30, *range(20)],
    "an empty plane between": [0x1_0002, 0x3_0004, 0x5_0006] * 7,
    "a small one, then a large one": [1, 1 << 31, *range(30)],
    "no multiple of eight": list(range(60_000, 60_021)),
}
LARGE = {"beyond 32 bits": [1 << 40, *range(9)], "the largest": [(1 << 63) - 1] * 9}


class Bytes(AddressMemory):
    """This process's memory, which can also be filled."""

    def fill(self, address, size, byte):
        ctypes.memset(address, byte, size)


@pytest.fixture(params=["interpreted", "compiled"])
def sort(request):
    """What sorts a numpy array. Returns the bytes of a number, and the planes."""
    words = mmap.mmap(-1, State.SIZE)
    state = State(Bytes(), np.frombuffer(words, np.uint8).ctypes.data)

    def found(numbers):
        arguments = numbers.ctypes.data, numbers.itemsize, len(numbers)
        if request.param == "compiled":
            pytest.importorskip("numba")
            width = opened(functions_library(passes)).sort(*map(ctypes.c_long, (state.address, *arguments)))
        else:
            width = planes.sort(state, *arguments)
        return width, ctypes.string_at(state.planes.address, width * len(numbers))

    yield found  # and keeps `words` meanwhile


@pytest.mark.parametrize(
    ("size", "which"), [*((4, each) for each in COLUMNS), *((8, each) for each in COLUMNS | LARGE)]
)
def test_numbers_are_cut_to_the_bytes_they_need_and_sorted_into_planes(sort, size, which):
    numbers = np.array((COLUMNS | LARGE)[which], f"<u{size}")
    width = next(each for each in (1, 2, 4, 8) if int(numbers.max(initial=0)) < 1 << 8 * each)
    expected = numbers.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T.tobytes()
    assert sort(numbers) == (width, expected)
