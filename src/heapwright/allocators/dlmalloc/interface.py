"""The C functions of dlmalloc 2.8.6 beyond malloc's: spaces, many blocks at once, limits, inspection.

`inner` is the stack that serves the program, and `bottom` the allocator. A function on the program's heap locks it and
counts its blocks as the stack does. A function on a space (`mspace_...`) locks that space, if it has a lock; layers do
not count its blocks. Only a failure sets `errno`, to ENOMEM.

Source: the comments above each function in malloc.c 2.8.6.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import bulk, chunks, figures, settings, spaces
from heapwright.layers import bottom, inner
from heapwright.layout import NULL

EXPORTS = (
    ("malloc_footprint", 0),
    ("malloc_max_footprint", 0),
    ("malloc_footprint_limit", 0),
    ("malloc_set_footprint_limit", 1),
    ("malloc_inspect_all", 2),
    ("realloc_in_place", 2),
    ("independent_calloc", 3),
    ("independent_comalloc", 3),
    ("bulk_free", 2),
    ("create_mspace", 2),
    ("create_mspace_with_base", 3),
    ("destroy_mspace", 1),
    ("mspace_track_large_chunks", 2),
    ("mspace_malloc", 2),
    ("mspace_free", 2),
    ("mspace_calloc", 3),
    ("mspace_realloc", 3),
    ("mspace_realloc_in_place", 3),
    ("mspace_memalign", 3),
    ("mspace_usable_size", 1),
    ("mspace_independent_calloc", 4),
    ("mspace_independent_comalloc", 4),
    ("mspace_bulk_free", 3),
    ("mspace_inspect_all", 3),
    ("mspace_trim", 2),
    ("mspace_footprint", 1),
    ("mspace_max_footprint", 1),
    ("mspace_footprint_limit", 1),
    ("mspace_set_footprint_limit", 2),
    ("mspace_mallinfo", 2),
    ("mspace_mallopt", 2),
)
ENOMEM = 12
LARGEST_ALIGN = 1 << 62


def answer(heap, address):
    """The address, or null and ENOMEM."""
    if address == NULL:
        heap.memory.set_errno(ENOMEM)
    return address


# --- both kinds of heap


def independent(heap, count, sizes, is_array, array):
    """Take one chunk for all elements, never a mapping, and split it; return the array of addresses, or 0."""
    contents = bulk.contents_size(heap, count, sizes, is_array) if 0 <= count <= bulk.MAX_COUNT else -1
    if contents < 0:
        return NULL
    if count == 0:
        return array if array != NULL else bottom.malloc(heap, 0)
    chunk = take_together(heap, contents + bulk.array_size(heap, count, array))
    return bulk.split(heap, chunk, contents, count, sizes, is_array, array) if chunk else NULL


def take_together(heap, size):
    """A chunk of at least `size` bytes from a segment, because a mapping cannot be split; null if there is none."""
    before = spaces.track_large(heap, 1)
    address = bottom.malloc(heap, size - chunks.overhead(heap))
    spaces.track_large(heap, before)
    return chunks.chunk_of(heap, address) if address != NULL else heap.top.at(NULL)


def independent_zeroed(heap, count, size, array):
    """The same with `count` elements of one size, all cleared."""
    found = independent(heap, count, size, 0, array)
    for index in range(count if found != NULL else 0):
        address = bulk.cell(heap, found, index).word
        heap.memory.fill(address, bottom.usable_size(heap, address), 0)
    return found


def inspect_all(heap, handler, argument):
    """Call a C function for each chunk: (start, end, bytes in use, argument)."""
    for start, end, used in figures.walk_chunks(heap):
        heap.memory.call_with(handler, start, end, used, argument)
    return 0


# --- the program's heap


def malloc_footprint(heap):
    """The bytes from the kernel."""
    return inner.innermost(heap).footprint


def malloc_max_footprint(heap):
    """Their peak."""
    return inner.innermost(heap).peak


def malloc_footprint_limit(heap):
    """The most bytes from the kernel; C's largest size_t if there is no limit."""
    return settings.limit_of(inner.innermost(heap))


def malloc_set_footprint_limit(heap, size):
    """Limit the bytes from the kernel; the limit, rounded up to whole units. C's largest size_t lifts it."""
    inner.enter(heap)
    limit = settings.set_limit(inner.innermost(heap), size)
    inner.leave(heap)
    return limit


def malloc_inspect_all(heap, handler, argument):
    """Call `handler(start, end, used, argument)` for each chunk; it must not call the heap, which is locked."""
    inner.enter(heap)
    inspect_all(inner.innermost(heap), handler, argument)
    inner.leave(heap)
    return 0


def realloc_in_place(heap, address, size):
    """Resize a block where it is. Null if that is not possible, and then it is unchanged."""
    if address == NULL:
        return NULL
    inner.count_out(heap, address, 0)
    inner.enter(heap)
    resized = bottom.realloc_in_place(inner.innermost(heap), address, size)
    inner.leave(heap)
    inner.count_in(heap, address, 0)
    return answer(heap, resized)


def independent_calloc(heap, count, size, array):
    """Allocate `count` cleared elements of one size; the array of their addresses, or null and ENOMEM."""
    inner.enter(heap)
    found = independent_zeroed(inner.innermost(heap), count, size, array)
    inner.leave(heap)
    return counted(heap, found, count, array)


def independent_comalloc(heap, count, sizes, array):
    """Allocate an element of each size; the array of their addresses, or null and ENOMEM."""
    inner.enter(heap)
    found = independent(inner.innermost(heap), count, sizes, 1, array)
    inner.leave(heap)
    return counted(heap, found, count, array)


def counted(heap, found, count, array):
    """Count the elements and, if it is a block too, the array."""
    for index in range(count if found != NULL else 0):
        inner.count_in(heap, bulk.cell(heap, found, index).word, 0)
    if array == NULL:
        inner.count_in(heap, found, 0)
    return answer(heap, found)


def bulk_free(heap, array, count):
    """Free each block of an array and clear its word; the number of those that were not freed, which is 0."""
    for index in range(count):
        address = bulk.cell(heap, array, index).word
        if address != NULL:
            inner.count_out(heap, address, 0)
    inner.enter(heap)
    bulk.free_all(inner.innermost(heap), array, count)
    inner.leave(heap)
    return 0


# --- spaces


def create_mspace(heap, capacity, is_locked):
    """Map a space with room for `capacity` bytes, or one page if that is 0; its address, or null."""
    inner.enter(heap)
    space = spaces.create(inner.innermost(heap), capacity, bits.as_int(is_locked))
    inner.leave(heap)
    return space.address


def create_mspace_with_base(heap, base, capacity, is_locked):
    """Make a space in memory of the program's own; its address, or null if that is too small."""
    inner.enter(heap)
    space = spaces.create_in(inner.innermost(heap), base, capacity, bits.as_int(is_locked))
    inner.leave(heap)
    return space.address


def destroy_mspace(heap, address):
    """End a space with all its blocks; the bytes that the kernel got back."""
    inner.enter(heap)
    first = inner.innermost(heap)
    space = spaces.enter(first, address)
    freed = spaces.destroy(first, space)
    inner.leave(heap)
    return freed


def entered(heap, address):
    return spaces.enter(inner.innermost(heap), address)


def mspace_track_large_chunks(heap, address, is_tracking):
    """Keep large blocks in the space itself, so that they end with it, or no longer; the old choice."""
    space = entered(heap, address)
    before = spaces.track_large(space, bits.as_int(is_tracking))
    spaces.leave(space)
    return before


def mspace_malloc(heap, address, size):
    """malloc from a space."""
    space = entered(heap, address)
    block = bottom.malloc(space, size)
    spaces.leave(space)
    return answer(heap, block)


def mspace_free(heap, address, block):
    """free of a block of that space; null is ignored."""
    if block != NULL:
        space = entered(heap, address)
        bottom.dealloc(space, block, 0, chunks.ALIGNMENT)
        spaces.leave(space)
    return 0


def mspace_calloc(heap, address, count, size):
    """calloc from a space."""
    total = bits.product(count, size)
    space = entered(heap, address)
    block = bottom.alloc_zeroed(space, total, chunks.ALIGNMENT) if total >= 0 else NULL
    spaces.leave(space)
    return answer(heap, block)


def mspace_realloc(heap, address, block, size):
    """realloc in a space. As in the source, a size of 0 keeps a block."""
    if block == NULL:
        return mspace_malloc(heap, address, size)
    space = entered(heap, address)
    moved = bottom.realloc(space, block, 0, chunks.ALIGNMENT, size)
    spaces.leave(space)
    return answer(heap, moved)


def mspace_realloc_in_place(heap, address, block, size):
    """realloc_in_place in a space."""
    if block == NULL:
        return NULL
    space = entered(heap, address)
    resized = bottom.realloc_in_place(space, block, size)
    spaces.leave(space)
    return answer(heap, resized)


def mspace_memalign(heap, address, align, size):
    """memalign from a space. The alignment is rounded up to a power of two."""
    if align < 0 or align > LARGEST_ALIGN:
        return answer(heap, NULL)
    space = entered(heap, address)
    block = bottom.alloc(space, size, 1 << bits.ceil_log2(max(align, chunks.ALIGNMENT)))
    spaces.leave(space)
    return answer(heap, block)


def mspace_usable_size(heap, block):
    """The usable bytes of a block of any space; 0 for null."""
    return bottom.usable_size(inner.innermost(heap), block) if block != NULL else 0


def mspace_independent_calloc(heap, address, count, size, array):
    """independent_calloc from a space."""
    space = entered(heap, address)
    found = independent_zeroed(space, count, size, array)
    spaces.leave(space)
    return answer(heap, found)


def mspace_independent_comalloc(heap, address, count, sizes, array):
    """independent_comalloc from a space."""
    space = entered(heap, address)
    found = independent(space, count, sizes, 1, array)
    spaces.leave(space)
    return answer(heap, found)


def mspace_bulk_free(heap, address, array, count):
    """bulk_free of blocks of a space."""
    space = entered(heap, address)
    bulk.free_all(space, array, count)
    spaces.leave(space)
    return 0


def mspace_inspect_all(heap, address, handler, argument):
    """malloc_inspect_all of a space; the space's own record is among the chunks in use."""
    space = entered(heap, address)
    inspect_all(space, handler, argument)
    spaces.leave(space)
    return 0


def mspace_trim(heap, address, pad):
    """Give the kernel what a space does not need, except `pad` bytes of top; 1 if it got anything."""
    space = entered(heap, address)
    released = bottom.trim(space, pad if 0 <= pad <= bulk.MAX_ELEMENT else bulk.MAX_ELEMENT)
    spaces.leave(space)
    return 1 if released > 0 else 0


def mspace_footprint(heap, address):
    """The bytes that a space has from the kernel, or was lent."""
    space = entered(heap, address)
    size = space.footprint
    spaces.leave(space)
    return size


def mspace_max_footprint(heap, address):
    """Their peak."""
    space = entered(heap, address)
    size = space.peak
    spaces.leave(space)
    return size


def mspace_footprint_limit(heap, address):
    """The limit of a space's footprint; C's largest size_t if there is none."""
    space = entered(heap, address)
    limit = settings.limit_of(space)
    spaces.leave(space)
    return limit


def mspace_set_footprint_limit(heap, address, size):
    """Limit a space's footprint, as malloc_set_footprint_limit does."""
    space = entered(heap, address)
    limit = settings.set_limit(space, size)
    spaces.leave(space)
    return limit


def mspace_mallinfo(heap, place, address):
    """Fill in a Mallinfo of a space at `place`, and return `place`, through which C returns the struct."""
    space = entered(heap, address)
    figures.fill_in(space, figures.Mallinfo(heap.memory, place))
    spaces.leave(space)
    return place


def mspace_mallopt(heap, option, value):
    """mallopt: the options are those of the program's heap, and hold for all spaces."""
    return inner.tune(heap, bits.as_int(option), bits.as_int(value))
