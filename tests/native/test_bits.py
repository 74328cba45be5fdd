"""The arithmetic that both worlds share: each function is what its docstring says, for all numbers, in each world."""

from __future__ import annotations

import ctypes
from pathlib import Path

import bits_face
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright import bits
from heapwright.native.library import functions_library

LEAST, MOST, WHOLE = -(1 << 63), (1 << 63) - 1, 1 << 64
EDGES = [edge + d for edge in (0, *(1 << k for k in range(1, 63)), LEAST, MOST) for d in (-2, -1, 0, 1, 2)]
numbers = st.one_of(st.sampled_from([n for n in EDGES if LEAST <= n <= MOST]), st.integers(LEAST, MOST))
positive = numbers.filter(lambda n: n > 0)
shifts = st.integers(0, 62)
powers = shifts.map(lambda k: 1 << k)


def signed(n: int) -> int:
    """The signed number of 64 bits that n is, modulo 2**64."""
    return (n - LEAST) % WHOLE + LEAST


def product_of(count: int, size: int) -> int:
    exact = (count % WHOLE) * (size % WHOLE)
    return exact if exact <= MOST else -1


# what each function is in whole numbers without an end, and the numbers that it takes
MODELS = {
    "wrapping_add": (lambda a, b: signed(a + b), numbers, numbers),
    "wrapping_mul": (lambda a, b: signed(a * b), numbers, numbers),
    "unsigned_less": (lambda a, b: a % WHOLE < b % WHOLE, numbers, numbers),
    "shift_right": (lambda n, k: signed(n % WHOLE // 2**k), numbers, st.integers(0, 63)),
    "product": (product_of, numbers, numbers),
    "count_bits": (lambda n: f"{n % WHOLE:b}".count("1"), numbers),
    "floor_log2": (lambda n: max(k for k in range(63) if 2**k <= n), positive),
    "ceil_log2": (lambda n: min(k for k in range(63) if 2**k >= n), st.integers(1, 1 << 62)),
    "lowest_bit": (lambda n: next(k for k in range(64) if n // 2**k % 2), numbers.filter(bool)),
    "is_power_of_two": (lambda n: n in {2**k for k in range(63)}, numbers),
    "as_int": (lambda n: (n + (1 << 31)) % (1 << 32) - (1 << 31), numbers),
    "bit": (lambda k: 2**k, shifts),
    "bits_from": (lambda k: -(2**k), shifts),
    "align_down": (lambda n, a: n - n % a, numbers, powers),
    "align_up": (lambda n, a: -(-n // a) * a, st.integers(LEAST, 1 << 62), powers),
    "is_aligned": (lambda n, a: n % a == 0, numbers, powers),
    "is_absurd": (lambda n, a: not 0 <= n <= MOST // 2 - a, numbers, powers),
}


@pytest.fixture(scope="module")
def library():
    """The functions, compiled in a process that finds their module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(bits_face.__file__).parent), prepend=":")
        return ctypes.CDLL(str(functions_library(bits_face)))


@pytest.fixture(params=["interpreted", "compiled"])
def world(request):
    """Find a function of `bits` by its name."""
    if request.param == "interpreted":
        return lambda name: getattr(bits, name)
    library = request.getfixturevalue("library")

    def compiled(name):
        function = getattr(library, name)
        function.argtypes = [ctypes.c_long] * len(bits_face.COMPILED[name][0])
        function.restype = ctypes.c_long
        return function

    return compiled


@pytest.mark.parametrize("name", MODELS)
def test_is_what_it_says_for_all_numbers(world, name):
    model, *kinds = MODELS[name]
    function = world(name)

    @settings(max_examples=300)
    @given(st.tuples(*kinds))
    def is_the_same(arguments):
        assert function(*arguments) == model(*arguments)

    is_the_same()


def test_every_function_is_here():
    ours = {name for name, thing in vars(bits).items() if callable(thing) and thing.__module__ == bits.__name__}
    assert set(MODELS) == set(bits_face.COMPILED) == ours - {"signed"}
