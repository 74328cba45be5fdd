"""Arithmetic on addresses, sizes and bitmaps with the same results interpreted and compiled.

Numbers are signed and have 64 bits. On overflow, compiled code wraps around and the machine reports a fault. These
functions never overflow if their results fit, and `wrapping_add` and `wrapping_mul` never do. `floor_log2`,
`lowest_bit`, `count_bits`, `shift_right`, `unsigned_less`, `wrapping_add` and `wrapping_mul` each compile to a single
instruction (`heapwright.native.intrinsics`).
"""

from __future__ import annotations

MAX_WORD = (1 << 63) - 1  # the largest number
MASK = (1 << 64) - 1
SMALL_FACTOR = (1 << 31) - 1  # the product of two factors up to this cannot overflow


def is_absurd(size, align):
    """Whether a request exceeds the memory of any kernel. If not, adding padding to it cannot overflow."""
    return size < 0 or size > MAX_WORD // 2 - align


def product(count, size):
    """The product of two unsigned numbers, or -1 if it is beyond PTRDIFF_MAX."""
    if (count | size) & ~SMALL_FACTOR == 0:
        return count * size
    if count == 0 or size == 0:
        return 0
    if count < 0 or size < 0 or size > MAX_WORD // count:
        return -1
    return count * size


def align_up(n, alignment):
    """The smallest multiple of a power of two that is at least `n`."""
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
    """The smallest k with 2**k >= n, for n > 0."""
    return floor_log2(2 * n - 1)


def as_int(n):
    """A C int from a word: its lower half, sign-extended. C leaves the upper half of an argument undefined."""
    low = n & 0xFFFFFFFF
    return low - ((low & 0x80000000) << 1)


def bit(k):
    """A word in which only bit `k` is set, 0 <= k <= 62."""
    return 1 << k


def bits_from(k):
    """A mask of bit `k` and all higher bits, 0 <= k <= 62."""
    return -1 << k


def floor_log2(n):
    """The position of the highest set bit of n > 0."""
    return n.bit_length() - 1


def lowest_bit(n):
    """The position of the lowest set bit of n != 0."""
    return (n & -n).bit_length() - 1


def count_bits(n):
    """The number of set bits among 64: 64 for -1."""
    return (n & MASK).bit_count()


def shift_right(n, k):
    """Shift right by 0 <= k <= 63 and fill with zeros, whereas `>>` keeps the sign."""
    return signed((n & MASK) >> k)


def unsigned_less(a, b):
    """Whether a < b as unsigned numbers, so that -1 is the largest."""
    return (a & MASK) < (b & MASK)


def wrapping_add(a, b):
    """The sum modulo 2**64, for requests not yet known to be valid."""
    return signed((a + b) & MASK)


def wrapping_mul(a, b):
    """The product modulo 2**64, for hashes."""
    return signed(a * b & MASK)


def signed(n):
    """The signed number with the same 64 bits as 0 <= n < 2**64."""
    return n - (1 << 64) if n > MAX_WORD else n
