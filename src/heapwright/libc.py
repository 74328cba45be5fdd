"""The C face: malloc and its kin, once for all allocators.

`inner` is a stack that many threads may call and that knows the usable size of its blocks. Sizes arrive as
signed numbers: a negative one is beyond PTRDIFF_MAX, which every `alloc` refuses. A failure sets `errno` to
ENOMEM and nothing else does. `realloc(p, 0)` frees `p` and answers 0, as glibc does; C23 leaves it open.

Source: C17 7.22.3, POSIX.1-2024, the Linux man-pages malloc(3) and posix_memalign(3).
"""

from __future__ import annotations

from heapwright.bits import MOST, align_up, ceil_log2, is_power_of_two
from heapwright.layers import inner
from heapwright.layout import NULL, Struct, Word

Heap = inner.Heap
ENOMEM, EINVAL = 12, 22
ALIGN = 16
UNKNOWN = 0  # the size of a block that is given back: an allocator with usable_size does not need it
SMALL_FACTOR = (1 << 31) - 1  # factors up to here cannot overflow
LARGEST_ALIGN = 1 << 62


class Place(Struct):
    """Where posix_memalign stores its answer."""

    block: Word


def malloc(heap, size):
    """At least `size` bytes, aligned to 16; for size 0 a block of its own. Null and ENOMEM on failure."""
    address = inner.alloc(heap, size, ALIGN)
    return address if address != NULL else out_of_memory(heap)


def free(heap, address):
    """Take back a block; null is nothing. `errno` stays as it is."""
    if address != NULL:
        inner.dealloc(heap, address, UNKNOWN, ALIGN)


def calloc(heap, count, size):
    """`count` times `size` bytes, all zero. Null and ENOMEM on failure, and when the product overflows."""
    total = product(count, size)
    if total < 0:
        return out_of_memory(heap)
    address = inner.alloc_zeroed(heap, total, ALIGN)
    return address if address != NULL else out_of_memory(heap)


def realloc(heap, address, size):
    """Make a block `size` bytes large, wherever it comes to lie. On failure null and ENOMEM: the old block lives on."""
    if address == NULL:
        return malloc(heap, size)
    if size == 0:
        free(heap, address)
        return NULL
    moved = inner.realloc(heap, address, UNKNOWN, ALIGN, size)
    return moved if moved != NULL else out_of_memory(heap)


def reallocarray(heap, address, count, size):
    """`realloc` to `count` times `size` bytes; null and ENOMEM when the product overflows."""
    total = product(count, size)
    return realloc(heap, address, total) if total >= 0 else out_of_memory(heap)


def product(count, size):
    """The product of two unsigned numbers, or -1 if it is beyond PTRDIFF_MAX."""
    if (count | size) & ~SMALL_FACTOR == 0:
        return count * size
    if count == 0 or size == 0:
        return 0
    if count < 0 or size < 0 or size > MOST // count:
        return -1
    return count * size


def out_of_memory(heap):
    """Set errno to ENOMEM; null."""
    heap.memory.set_errno(ENOMEM)
    return NULL


def invalid(heap):
    """Set errno to EINVAL; null."""
    heap.memory.set_errno(EINVAL)
    return NULL


# --- alignment


def aligned(heap, align, size):
    """`size` bytes at a multiple of a power of two."""
    address = inner.alloc(heap, size, max(align, ALIGN))
    return address if address != NULL else out_of_memory(heap)


def memalign(heap, align, size):
    """Any alignment: the next power of two serves it."""
    if align < 0 or align > LARGEST_ALIGN:
        return invalid(heap)
    return aligned(heap, 1 << ceil_log2(max(align, ALIGN)), size)


def aligned_alloc(heap, align, size):
    """As `aligned`; any size will do. Null and EINVAL for an alignment that is no power of two."""
    if align < 0 or not is_power_of_two(align):
        return invalid(heap)
    return aligned(heap, align, size)


def posix_memalign(heap, place, align, size):
    """Store the address at `place`; answer 0 or an error number, and leave errno and a failed place alone."""
    if align < 8 or not is_power_of_two(align):
        return EINVAL
    address = inner.alloc(heap, size, max(align, ALIGN))
    if address == NULL:
        return ENOMEM
    Place(heap.memory, place).block = address
    return 0


def valloc(heap, size):
    """As `malloc`, aligned to a page."""
    return aligned(heap, heap.memory.PAGE, size)


def pvalloc(heap, size):
    """As `valloc`, of whole pages. Null and ENOMEM on failure, and when rounding up would overflow."""
    page = heap.memory.PAGE
    if size < 0 or size > MOST - page:
        return out_of_memory(heap)
    return aligned(heap, page, align_up(size, page))


# --- questions and settings


def malloc_usable_size(heap, address):
    """The bytes of a block that may be used, at least those asked for; 0 for null."""
    return inner.usable_size(heap, address) if address != NULL else 0


def malloc_trim(heap, pad):
    """1 if memory went back to the kernel."""
    return 1 if inner.trim(heap) > 0 else 0


def mallopt(heap, option, value):
    """1 if the allocator has the option, and the value is one for it; else 0, and nothing has changed."""
    return inner.tune(heap, as_int(option), as_int(value))


def as_int(number):
    """C's int is the lower half of what arrives, sign-extended."""
    return (number << 32) >> 32


def free_sized(heap, address, size):
    """C23's `free` of a block from malloc, calloc or realloc, told its size: the allocator knows it."""
    free(heap, address)


def free_aligned_sized(heap, address, align, size):
    """C23's `free` of a block from aligned_alloc, told its alignment and size."""
    free(heap, address)
