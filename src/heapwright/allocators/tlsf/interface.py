"""The C functions of TLSF 3.1: pools that the program lends, to its heap or to allocators of their own.

A `tlsf_t` is the address of an allocator in the program's memory, or null for the heap that serves malloc. The calls on
that heap take its lock; an allocator of the program's own serves one thread at a time. Only a failure of the calls that
give a block sets `errno`, to ENOMEM.

Source: tlsf.h of M. Conte's implementation, github.com/mattconte/tlsf 3.1.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.tlsf import blocks, pools
from heapwright.layers import bottom, inner
from heapwright.layout import NULL

EXPORTS = (
    ("tlsf_create", 1),
    ("tlsf_create_with_pool", 2),
    ("tlsf_destroy", 1),
    ("tlsf_get_pool", 1),
    ("tlsf_next_pool", 1),
    ("tlsf_add_pool", 3),
    ("tlsf_remove_pool", 2),
    ("tlsf_malloc", 2),
    ("tlsf_memalign", 3),
    ("tlsf_realloc", 3),
    ("tlsf_free", 2),
    ("tlsf_block_size", 1),
    ("tlsf_size", 0),
    ("tlsf_align_size", 0),
    ("tlsf_block_size_min", 0),
    ("tlsf_block_size_max", 0),
    ("tlsf_pool_overhead", 0),
    ("tlsf_alloc_overhead", 0),
    ("tlsf_walk_pool", 3),
    ("tlsf_check", 1),
    ("tlsf_check_pool", 1),
)
ENOMEM = 12


# --- allocators


def tlsf_create(heap, memory):
    """Make `tlsf_size()` bytes of the program's memory, a multiple of 16, an allocator; its address, or null."""
    inner.enter(heap)
    own = pools.create(inner.innermost(heap), memory, bottom.Heap.SIZE)
    inner.leave(heap)
    return own.address


def tlsf_create_with_pool(heap, memory, size):
    """The same, with the memory behind it as its first pool; null if there is too little of it."""
    room = size - tlsf_size(heap)
    if room < pools.MIN_BYTES or tlsf_create(heap, memory) == NULL:
        return NULL
    pools.add(bottom.Heap(heap.memory, memory), memory + tlsf_size(heap), room)
    return memory


def tlsf_destroy(heap, address):
    """Forget an allocator of the program's own. Its memory is the program's again, pools and all."""
    inner.enter(heap)
    first = inner.innermost(heap)
    own = first.at(address)
    pools.require_own(first, own)
    pools.destroy(first, own)
    inner.leave(heap)
    return 0


def entered(heap, address):
    """The allocator at an address, or for null the program's heap, which is locked."""
    first = inner.innermost(heap)
    if address == NULL:
        inner.enter(heap)
        return first
    own = first.at(address)
    pools.require_own(first, own)
    return own


def leave(heap, address):
    if address == NULL:
        inner.leave(heap)


# --- pools


def tlsf_add_pool(heap, address, memory, size):
    """Lend memory, a multiple of 16; the pool, or null if it has too few bytes."""
    pool = pools.add(entered(heap, address), memory, size)
    leave(heap, address)
    return pool.address


def tlsf_remove_pool(heap, address, pool):
    """Take a pool back; 1, or 0 while a block of it is live."""
    is_removed = pools.remove(entered(heap, address), pools.Pool(heap.memory, pool))
    leave(heap, address)
    return 1 if is_removed else 0


def tlsf_get_pool(heap, address):
    """The pool that was lent last, or null; tlsf_next_pool has the others."""
    pool = entered(heap, address).lent
    leave(heap, address)
    return pool.address


def tlsf_next_pool(heap, pool):
    """The pool that was lent before another one, or null."""
    return pools.Pool(heap.memory, pool).next.address


def tlsf_walk_pool(heap, pool, walker, argument):
    """Call `walker(address, size, whether in use, argument)` for each block of a pool."""
    for block, size, is_used in pools.walk_blocks(pools.Pool(heap.memory, pool)):
        heap.memory.call_with(walker, block, size, is_used, argument)
    return 0


def tlsf_check(heap, address):
    """The number of faults in the lists of free blocks; 0 if all is well."""
    faults = pools.faults_in_lists(entered(heap, address))
    leave(heap, address)
    return faults


def tlsf_check_pool(heap, pool):
    """The number of faults in the blocks of a pool; 0 if all is well."""
    return pools.faults_in(pools.Pool(heap.memory, pool))


# --- blocks


def answer(heap, block):
    """The address, or null and ENOMEM."""
    if block == NULL:
        heap.memory.set_errno(ENOMEM)
    return block


def tlsf_malloc(heap, address, size):
    """malloc from an allocator. A size of 0 gives a block, too."""
    return tlsf_memalign(heap, address, blocks.ALIGN, size)


def tlsf_memalign(heap, address, align, size):
    """The same at a multiple of a power of two."""
    own = entered(heap, address)
    block = bottom.alloc(own, size, max(align, blocks.ALIGN)) if bits.is_power_of_two(align) else NULL
    leave(heap, address)
    if address == NULL:
        inner.count_in(heap, block, size)
    return answer(heap, block)


def tlsf_free(heap, address, block):
    """free of a block of that allocator; null is ignored."""
    if block != NULL:
        if address == NULL:
            inner.count_out(heap, block, 0)
        bottom.dealloc(entered(heap, address), block, 0, blocks.ALIGN)
        leave(heap, address)
    return 0


def tlsf_realloc(heap, address, block, size):
    """realloc in an allocator; a size of 0 frees the block."""
    if block == NULL:
        return tlsf_malloc(heap, address, size)
    if size == 0:
        return tlsf_free(heap, address, block)
    if address == NULL:
        return answer(heap, inner.realloc(heap, block, 0, blocks.ALIGN, size))
    return answer(heap, bottom.realloc(entered(heap, address), block, 0, blocks.ALIGN, size))


def tlsf_block_size(heap, block):
    """The usable bytes of a block; 0 for null."""
    return bottom.usable_size(inner.innermost(heap), block) if block != NULL else 0


# --- sizes


def tlsf_size(heap):
    """The bytes of an allocator, without its pools."""
    return bits.align_up(bottom.Heap.SIZE, blocks.ALIGN)


def tlsf_align_size(heap):
    """What the address of every block and pool is a multiple of."""
    return blocks.ALIGN


def tlsf_block_size_min(heap):
    """The least bytes of a block."""
    return blocks.MIN_SIZE


def tlsf_block_size_max(heap):
    """The most bytes of a request."""
    return bottom.MAX_BYTES


def tlsf_pool_overhead(heap):
    """The bytes of a pool that no block has."""
    return pools.OVERHEAD


def tlsf_alloc_overhead(heap):
    """The bytes that a block costs beyond its size."""
    return blocks.HEADER
