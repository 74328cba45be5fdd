"""Arithmetic on addresses, sizes and bitmaps that both worlds agree on.

Numbers are signed and have 64 bits. Compiled code wraps what does not fit; the machine refuses it. These
functions stay inside 64 bits for every input inside 64 bits. `floor_log2`, `lowest_bit`, `count_bits`,
`shift_right`, `below` and `times` have one instruction each in compiled code (`heapwright.native.intrinsics`).
"""

from __future__ import annotations

MOST = (1 << 63) - 1  # the largest number there is
MASK = (1 << 64) - 1


def is_absurd(size, align):
    """Whether a request is for more than any kernel has. If not, padding may be added to it and stays a number."""
    return size < 0 or size > MOST // 2 - align


def align_up(n, alignment):
    """The least multiple of a power of two that is at least `n`."""
    return (n + alignment - 1) & -alignment


def align_down(n, alignment):
    """The largest multiple of a power of two that is at most `n`."""
    return n & -alignment


def is_aligned(n, alignment):
    """Whether `n` is a multiple of a power of two."""
    return n & (alignment - 1) == 0


def is_power_of_two(n):
    """Whether exactly one bit of `n` is set, and `n` is positive."""
    return n > 0 and n & (n - 1) == 0


def ceil_log2(n):
    """The least k with 2**k >= n, for n > 0."""
    return floor_log2(2 * n - 1)


def bit(k):
    """A word in which only bit `k` is set, 0 <= k <= 62."""
    return 1 << k


def bits_from(k):
    """A mask of the bits `k` and above, 0 <= k <= 62."""
    return -1 << k


def floor_log2(n):
    """The position of the highest set bit of n > 0."""
    return n.bit_length() - 1


def lowest_bit(n):
    """The position of the lowest set bit of n != 0."""
    return (n & -n).bit_length() - 1


def count_bits(n):
    """How many of the 64 bits are set: 64 for -1."""
    return (n & MASK).bit_count()


def shift_right(n, k):
    """Shift by 0 <= k <= 63, filling with zeros: `>>` keeps the sign."""
    return signed((n & MASK) >> k)


def below(a, b):
    """Whether a < b as unsigned numbers, so that -1 is the largest."""
    return (a & MASK) < (b & MASK)


def times(a, b):
    """The product modulo 2**64, for hashes."""
    return signed(a * b & MASK)


def signed(n):
    """The signed number with the same 64 bits as 0 <= n < 2**64."""
    return n - (1 << 64) if n > MOST else n
