"""Doug Lea's allocator: boundary tags, exact bins for small chunks, tries for large ones, best fit, immediate merging.

Source: D. Lea, malloc.c 2.8.6 (public domain), gee.cs.oswego.edu/pub/misc; A Memory Allocator, 1996.

A chunk in use, and a free one; the picture of a large free chunk is in `dlmalloc_trees`:

      chunk -> +--------------------+            chunk -> +--------------------+
             0 | previous_size      |                   0 | previous_size      |  bytes of the caller before
             8 | head               |                   8 | head               |  size, CINUSE 0, PINUSE 1
    address -> +--------------------+                     +--------------------+
            16 | the caller's bytes |                  16 | forward            |  in the bin's circle
               |                    |                  24 | back               |
               | ...                |                     | ...                |
     behind -> +--------------------+           behind -> +--------------------+
               | 8 bytes more, or   |                     | previous_size      |  the foot: its size again
               | the heap's mark    |                     |                    |
               | head               |                     | head               |  PINUSE 0

Names in the source: prev_foot is previous_size; fd and bk are forward and back; dv is the victim; PINUSE and CINUSE
are PREVIOUS_USED and USED_BIT. Modules: `dlmalloc_chunks` boundary tags, `dlmalloc_trees` large bins,
`dlmalloc_bins` all bins and merging, `dlmalloc_segments` what chunks are cut from and trimming, `dlmalloc_system`
growth and mappings.

Footers are the source's option, and off as they are there: the foot of a chunk in use is its caller's last word. Say
FOOTERS = 1 in a copy of this file, and load that by its path: the foot then holds the heap's mark, which `dealloc` and
`realloc` look for. So they notice foreign addresses, what was freed before, even if it has merged since, and that
somebody wrote behind the end of a block.

The heap's own words, in one cache line: a bit for each small and each tree bin; the designated victim, which is
what the last split of a small request left; top, the end of the newest segment; when to trim. Then the bins,
the record of the newest segment, and with footers the magic, a random word.

A small request takes, in this order: a chunk of its exact size; the victim; the least larger chunk, whose rest becomes
the victim; top. A large one takes the best fit of trees and victim, or top. What top cannot serve comes from the
kernel, from 256 KiB on as a mapping of its own.

Invariants
    DL1   every chunk lies at a multiple of 16
    DL2   a chunk behind one in use says so, and if it says that the one before is free, that one ends there
    DL3   a free chunk has its size at its end, and lies between chunks in use
    DL4   a small bin is a circle of free chunks of one size, and its bit says whether there are any
    DL5   a tree bin is a trie on the bits of sizes, each node in a ring of its equals, and its bit says so
    DL6   the victim is a free chunk of the size that the heap keeps for it
    DL7   top is the free end of the first segment, all but a foot of 80 bytes
    DL8   chunks tile their segments, which do not overlap and, but for the first, hold their own records, and each
          free one is in one bin, once, or is the victim or top
    DL9   a chunk that is a mapping fills whole pages up to its fence
    DL10  the footprint covers the segments and was never more than the peak
    DL11  no chunk lies below the least address, and with footers each one in use ends with the heap's mark

Vital statistics: overhead 8 bytes (16 with footers), smallest chunk 32, alignment 16; small requests O(1), large ones
and merging O(bits of the size); top beyond 2 MiB, empty mapped segments and mappings go back to the kernel.

Unlike the source: a request that fails everywhere does not disable the break; the trees count sizes in 64 bits, and
not 32; where somebody else moved the break, the new stretch ends at a page; a chunk that memalign moved up in its
mapping may be resized (there, the mapping comes out too short); realloc keeps larger alignments; the segment of top,
always the first, is not searched for; a foot must have this heap's mark, where the source asks the heap that the foot
names, and the mark is wiped when the chunk falls free. There are no spaces, and there is no limit to the footprint
(malloc_set_footprint_limit): any heap here can be limited from outside, where it asks the kernel. What the kernel does
not take back becomes a segment, instead of being lost.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc_bins import (
    insert,
    is_small,
    merge,
    replace_victim,
    small_index,
    take_first_small,
    take_from_top,
    take_from_victim,
)
from heapwright.allocators.dlmalloc_checks import (
    BINS,
    agrees,
    are_apart,
    chunks_of,
    holds_record,
    is_mapping,
    is_own,
    is_sealed,
    is_small_bin,
    is_top,
    is_tree_bin,
    is_victim,
    lists,  # noqa: F401  for pictures
    segments_of,
    span_at,
    unused_chunks,
)
from heapwright.allocators.dlmalloc_chunks import (
    ALIGNMENT,
    HEADER,
    LEAST_CHUNK,
    Chunk,
    address_of,
    chunk_of,
    chunk_size,
    cut,
    is_live,
    is_mapped,
    live_chunk,
    overhead,
    size_of,
    use_whole,
)
from heapwright.allocators.dlmalloc_resize import cut_back, cut_front, resize
from heapwright.allocators.dlmalloc_segments import Segment, end_of, release_unused, segment_holding, trim
from heapwright.allocators.dlmalloc_system import remap_chunk, take_from_kernel, unmap_chunk
from heapwright.allocators.dlmalloc_trees import Tree, best_fit, least_tree, unlink_tree
from heapwright.bits import MOST, below, is_aligned, lowest_bit
from heapwright.layout import NULL, WORD, Array, Inline, Struct, Word, Word32

FOOTERS = 0  # or 1: chunks in use end with the heap's mark
MOST_SMALL = 232 - WORD * FOOTERS  # the largest request whose chunk lies in a small bin
MOST_BYTES = MOST // 4
DETECTS = ("double free at once", "foreign") if FOOTERS else ("double free at once",)  # of what has not merged since
RETAINS = 2 << 12  # the break is cut to the end of a page
SLOW_PATHS = (
    "alloc_aligned",
    "corrupted",
    "give_back",
    "insert_tree",
    "release_unused",
    "remap_chunk",
    "split_larger",
    "take_from_kernel",
    "take_large",
    "trim",
    "unlink_tree",
    "unmap_chunk",
)


class Heap(Struct):
    small_map: Word32
    tree_map: Word32
    victim_size: Word
    top_size: Word
    least_address: Word  # that ever came from the kernel
    victim: Chunk
    top: Chunk  # null until the first call
    trim_check: Word  # trim when top is larger
    release_checks: Word  # how many large chunks may be freed before a look at the segments
    small_bins: Array[Word, 66]
    tree_bins: Array[Tree, 32]
    footprint: Word
    peak: Word
    break_failed: Word
    segment: Inline[Segment]
    magic: Array[Word, FOOTERS]  # drawn when the heap opens


# --- a small request


def take_small(heap, size):
    index = small_index(size)
    bins = heap.small_map >> index
    if bins & 1 != 0:
        chunk = take_first_small(heap, index)
        use_whole(heap, chunk, size)
        return address_of(chunk)
    if size <= heap.victim_size:
        return address_of(take_from_victim(heap, size))
    if bins != 0 or heap.tree_map != 0:
        return split_larger(heap, size, bins)
    return take_beyond(heap, size)


def split_larger(heap, size, bins):
    """Take from the least chunk that is larger; what is left becomes the victim."""
    if bins != 0:
        return split_small(heap, small_index(size) + lowest_bit(bins), size)
    return split_least(heap, size)


def split_small(heap, index, size):
    chunk = take_first_small(heap, index)
    return cut_for_victim(heap, chunk, size, index * 8 - size)


def split_least(heap, size):
    tree, rest = least_tree(heap, size)
    unlink_tree(heap, tree)
    return cut_for_victim(heap, Chunk(heap.memory, tree.address), size, rest)


def cut_for_victim(heap, chunk, size, rest):
    remainder = cut(heap, chunk, size, rest)
    if remainder:
        replace_victim(heap, remainder, rest)
    return address_of(chunk)


# --- a large request


def take_large(heap, size):
    if heap.tree_map != 0:
        tree, rest = best_fit(heap, size)
        if tree and below(rest, heap.victim_size - size):  # a victim that is too small leaves more than any
            return split_best(heap, tree, size, rest)
    return take_unbinned(heap, size)


def split_best(heap, tree, size, rest):
    """Take from a large chunk, and bin what is left."""
    unlink_tree(heap, tree)
    chunk = Chunk(heap.memory, tree.address)
    remainder = cut(heap, chunk, size, rest)
    if remainder:
        insert(heap, remainder, rest)
    return address_of(chunk)


# --- what no bin can serve


def take_unbinned(heap, size):
    if size <= heap.victim_size:
        return address_of(take_from_victim(heap, size))
    return take_beyond(heap, size)


def take_beyond(heap, size):
    """Take from top, or from the kernel; 0 when memory is exhausted."""
    if size < heap.top_size:
        return address_of(take_from_top(heap, size))
    chunk = take_from_kernel(heap, size)
    return address_of(chunk) if chunk else NULL


# --- alignments above 16


def alloc_aligned(heap, size, align):
    """Take a chunk with room for the worst misfit, and give back what is not needed at either end."""
    if size < 0 or size > MOST_BYTES:
        return NULL
    wanted = chunk_size(heap, size)
    address = malloc(heap, wanted - overhead(heap) + align + LEAST_CHUNK)
    if address == NULL:
        return NULL
    chunk = chunk_of(heap, address)
    if not is_aligned(address, align):
        chunk = cut_front(heap, chunk, align)
    if not is_mapped(chunk) and size_of(chunk) > wanted + LEAST_CHUNK:
        cut_back(heap, chunk, wanted)
    return address_of(chunk)


# --- other sizes


def move(heap, chunk, align, new_size):
    """Copy a block to a new place; return its address, or 0."""
    address = alloc(heap, new_size, align)
    if address != NULL:
        old = address_of(chunk)
        heap.memory.copy(address, old, min(new_size, room_in(heap, chunk)))
        dealloc(heap, old, new_size, align)
    return address


# --- the allocator


def malloc(heap, size):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if below(size, MOST_SMALL + 1):
        return take_small(heap, chunk_size(heap, size))
    if below(MOST_BYTES, size):
        return NULL
    return take_large(heap, chunk_size(heap, size))


def alloc(heap, size, align):
    return malloc(heap, size) if align <= ALIGNMENT else alloc_aligned(heap, size, align)


def dealloc(heap, address, size, align):
    """Unmap the chunk, or merge it with its free neighbours and bin what they became."""
    chunk = live_chunk(heap, address)
    if is_mapped(chunk):
        unmap_chunk(heap, chunk)
        return
    chunk, size = merge(heap, chunk)
    if size != 0:
        bin_freed(heap, chunk, size)
    elif chunk == heap.top and heap.top_size > heap.trim_check:
        trim(heap)


def bin_freed(heap, chunk, size):
    """Bin a chunk; now and then, after a large one, see whether a segment fell empty."""
    insert(heap, chunk, size)
    if not is_small(size):
        heap.release_checks -= 1
        if heap.release_checks == 0:
            release_unused(heap)


def usable_size(heap, address):
    return room_in(heap, chunk_of(heap, address))


def room_in(heap, chunk):
    return size_of(chunk) - (HEADER if is_mapped(chunk) else overhead(heap))


def alloc_zeroed(heap, size, align):
    """The kernel has cleared what is mapped only for this."""
    address = alloc(heap, size, align)
    if address != NULL and not is_mapped(chunk_of(heap, address)):
        heap.memory.fill(address, size, 0)
    return address


def realloc(heap, address, size, align, new_size):
    if below(MOST_BYTES, new_size):
        return NULL
    wanted = chunk_size(heap, new_size)
    chunk = live_chunk(heap, address)
    if is_mapped(chunk):
        remapped = remap_chunk(heap, chunk, wanted, align <= heap.memory.PAGE)
        if remapped:
            return address_of(remapped)
    elif resize(heap, chunk, wanted):
        return address
    return move(heap, chunk, align, new_size)


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each chunk, foot and record of [start, end), in address order."""
    segment = segment_holding(heap, start)
    place = segment.start if segment else start
    while place < end:
        size, kind = span_at(heap, place, end)
        if place + size > start:
            yield max(place, start), min(place + size, end) - max(place, start), kind
        place += size


def check(heap, start, end):
    segments = segments_of(heap)
    assert all(is_aligned(chunk.address, ALIGNMENT) for part in segments for chunk in chunks_of(heap, part)), (
        "DL1   every chunk lies at a multiple of 16"
    )
    chunks = [chunk for part in segments for chunk in chunks_of(heap, part)]
    free = [chunk for chunk in chunks if not is_live(chunk)]
    spans = [sum(size for _, size, _ in walk(heap, part.start, end_of(part))) for part in segments]
    is_ours = any(start < end_of(part) and part.start < end for part in segments)
    assert all(agrees(chunk) for chunk in chunks if chunk != heap.top), (
        "DL2   a chunk behind one in use says so, and if it says that the one before is free, that one ends there"
    )
    assert all(is_sealed(heap, chunk) for chunk in free), (
        "DL3   a free chunk has its size at its end, and lies between chunks in use"
    )
    assert all(is_small_bin(heap, index) for index in BINS), (
        "DL4   a small bin is a circle of free chunks of one size, and its bit says whether there are any"
    )
    assert all(is_tree_bin(heap, index) for index in BINS), (
        "DL5   a tree bin is a trie on the bits of sizes, each node in a ring of its equals, and its bit says so"
    )
    assert is_victim(heap), "DL6   the victim is a free chunk of the size that the heap keeps for it"
    assert is_top(heap), "DL7   top is the free end of the first segment, all but a foot of 80 bytes"
    assert (
        spans == [part.size for part in segments]
        and are_apart(segments)
        and all(map(holds_record, segments[1:]))
        and unused_chunks(heap) == sorted(chunk.address for chunk in free)
    ), (
        "DL8   chunks tile their segments, which do not overlap and, but for the first, hold their own records, and "
        "each free one is in one bin, once, or is the victim or top"
    )
    assert is_ours or is_mapping(heap, start, end), "DL9   a chunk that is a mapping fills whole pages up to its fence"
    assert sum(part.size for part in segments) <= heap.footprint <= heap.peak, (
        "DL10  the footprint covers the segments and was never more than the peak"
    )
    assert all(is_own(heap, chunk) for chunk in (chunks if is_ours else [Chunk(heap.memory, start)])), (
        "DL11  no chunk lies below the least address, and with footers each one in use ends with the heap's mark"
    )
