"""All of `heapwright.bits` as C functions of longs, for `heapwright.native.library.functions_library`."""

from __future__ import annotations

from heapwright.bits import (
    align_down,
    align_up,
    as_int,
    bit,
    bits_from,
    ceil_log2,
    count_bits,
    floor_log2,
    is_absurd,
    is_aligned,
    is_power_of_two,
    lowest_bit,
    product,
    shift_right,
    unsigned_less,
    wrapping_add,
    wrapping_mul,
)

ONE = as_int, bit, bits_from, ceil_log2, count_bits, floor_log2, is_power_of_two, lowest_bit
TWO = align_down, align_up, unsigned_less, is_absurd, is_aligned, wrapping_add, product, shift_right, wrapping_mul
COMPILED = {
    **{function.__name__: ((None,), True) for function in ONE},
    **{function.__name__: ((None, None), True) for function in TWO},
}
