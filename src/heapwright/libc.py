"""The C face: malloc and its relatives, once for all allocators.

`inner` is a stack that several threads may call and that has `usable_size`. Sizes arrive as signed numbers. A negative
one is a size beyond PTRDIFF_MAX, and every `alloc` refuses it. Only a failure sets `errno`, to ENOMEM or EINVAL.
`realloc(p, 0)` frees `p` and returns 0, as in glibc; C23 leaves this undefined.

Source: C17 7.22.3, POSIX.1-2024, the Linux man-pages malloc(3) and posix_memalign(3).
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, align_up, as_int, ceil_log2, is_power_of_two, product
from heapwright.layers import inner
from heapwright.layout import NULL, Struct, Word

Heap = inner.Heap
SETS_ERRNO, TAKES_NULL = hasattr(inner, "SETS_ERRNO"), hasattr(inner, "TAKES_NULL")
ENOMEM, EINVAL = 12, 22
ALIGN = 16
UNKNOWN = 0  # stands for the size of a freed block, which an allocator with usable_size does not need
LARGEST_ALIGN = 1 << 62
MAX_PAD = 1 << 62


class AddressCell(Struct):
    """The place where posix_memalign stores the address."""

    block: Word


def malloc(heap, size):
    """Allocate at least `size` bytes, aligned to 16. Size 0 yields a distinct block. Null and ENOMEM on failure."""
    return checked(heap, inner.alloc(heap, size, ALIGN))


def free(heap, address):
    """Free a block; null is ignored. `errno` does not change."""
    if TAKES_NULL or address != NULL:
        inner.dealloc(heap, address, UNKNOWN, ALIGN)
    else:
        inner.dealloc_null(heap)


def calloc(heap, count, size):
    """Allocate `count` times `size` zero bytes. Null and ENOMEM on failure, or if the product overflows."""
    total = product(count, size)
    if total < 0:
        return out_of_memory(heap)
    return checked(heap, inner.alloc_array(heap, count, total, ALIGN))


def realloc(heap, address, size):
    """Resize a block, which may move. Null and ENOMEM on failure, and then the old block stays valid."""
    if address == NULL:
        return malloc(heap, size)
    if size == 0:
        free(heap, address)
        return NULL
    return checked(heap, inner.realloc(heap, address, UNKNOWN, ALIGN, size))


def checked(heap, address):
    """The result of a request. If it is null, errno is ENOMEM, which the C library's own allocator has set already."""
    return address if SETS_ERRNO or address != NULL else out_of_memory(heap)


def out_of_memory(heap):
    """Set errno to ENOMEM; return null."""
    heap.memory.set_errno(ENOMEM)
    return NULL


def invalid(heap):
    """Set errno to EINVAL; return null."""
    heap.memory.set_errno(EINVAL)
    return NULL


# --- alignment


def aligned(heap, align, size):
    """Allocate `size` bytes at a multiple of a power of two. Null and ENOMEM on failure."""
    return checked(heap, inner.alloc(heap, size, max(align, ALIGN)))


def memalign(heap, align, size):
    """Allocate with any alignment, which is rounded up to a power of two. Null and an errno on failure."""
    if align < 0 or align > LARGEST_ALIGN:
        return invalid(heap)
    return aligned(heap, 1 << ceil_log2(max(align, ALIGN)), size)


def aligned_alloc(heap, align, size):
    """Allocate as `aligned` does, with any size. Null and EINVAL if the alignment is not a power of two."""
    if align < 0 or not is_power_of_two(align):
        return invalid(heap)
    return aligned(heap, align, size)


def posix_memalign(heap, place, align, size):
    """Store the address of a block at `place` and return 0, or return an error number. errno does not change."""
    if align < 8 or not is_power_of_two(align):
        return EINVAL
    address = inner.alloc(heap, size, max(align, ALIGN))
    if address == NULL:
        return ENOMEM
    AddressCell(heap.memory, place).block = address
    return 0


def valloc(heap, size):
    """Allocate as `malloc` does, aligned to a page."""
    return aligned(heap, heap.memory.PAGE, size)


def pvalloc(heap, size):
    """Allocate whole pages, aligned to a page. Null and ENOMEM on failure, or if rounding up would overflow."""
    page = heap.memory.PAGE
    if size < 0 or size > MAX_WORD - page:
        return out_of_memory(heap)
    return aligned(heap, page, align_up(size, page))


# --- queries and settings


def malloc_usable_size(heap, address):
    """The usable bytes of a block, at least as many as requested; 0 for null."""
    return inner.usable_size(heap, address) if address != NULL else 0


def malloc_trim(heap, pad):
    """Release free memory to the kernel, except `pad` bytes at the end of the heap; return 1 if any was released."""
    return 1 if inner.trim(heap, pad if 0 <= pad <= MAX_PAD else MAX_PAD) > 0 else 0


def mallopt(heap, option, value):
    """Set an option; return 1, or 0 and change nothing if the allocator lacks the option or refuses the value."""
    return inner.tune(heap, as_int(option), as_int(value))
