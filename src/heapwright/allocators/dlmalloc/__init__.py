"""Doug Lea's allocator: boundary tags, exact bins for small chunks, tries for large ones, best fit, immediate merging.

Source: D. Lea, malloc.c 2.8.6 (public domain), gee.cs.oswego.edu/pub/misc; A Memory Allocator, 1996.

A chunk in use, and a free one; the picture of a large free chunk is in `trees`:

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
are PREVIOUS_USED and USED_BIT. Modules: `chunks` has boundary tags, `trees` large bins, `bins` all bins and merging,
`segments` the memory that chunks are cut from, `resize` realloc in place, and `system` growth, mappings and trimming.
`spaces` has further heaps, `bulk` many blocks in one call, `settings` the options of mallopt, and `interface` the C
functions that only this allocator has.

Fields of the allocator, the first ones in one cache line: a bit for each small and each tree bin; the designated
victim, which is the rest of the last split for a small request; top, the free end of the newest segment; the trim
threshold. Then come the bins, the record of the newest segment, the list of spaces and, with footers, the magic, a
random word.

`alloc` serves a small request from the first of these that fits: a chunk of its exact size; the victim; the smallest
larger chunk, whose rest becomes the victim; top. It serves a large request by the best fit among trees and victim, or
else from top. What top cannot serve comes from the kernel; chunks of 256 KiB and more get their own mappings.

`dealloc` merges the chunk with its free neighbours at once. The result goes into a bin, unless it became part of the
victim or of top. A long top is trimmed.

Footers are an option of the source, and off by default in both: the foot of a chunk in use belongs to its caller. In
the variant `dlmalloc[FOOTERS=1]` the foot holds the heap's mark, which `dealloc` and `realloc` check. So they report
foreign addresses, blocks that were freed and have merged since, and writes behind the end of a block.

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

Differences from the source. A request that fails everywhere does not disable the break. Trees use 64 bits of sizes, not
32. After other code has moved the break, the new extent ends at a page boundary. A chunk that memalign moved up in its
mapping can be resized; in the source, the mapping becomes too short. realloc keeps larger alignments. The segment of
top is always the first, so it needs no search. A foot must have this heap's mark, whereas the source asks the heap that
the foot names; and the mark is wiped when the chunk is freed. Memory that the kernel refuses to take back becomes a
segment and is not lost. A limit of 0 bytes for the footprint permits no growth; in the source, it lifts the limit. A
space never takes memory from the break. `bulk_free` reports a block of another heap, whereas the source leaves it
alone. Sums of sizes that overflow fail.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import (
    bins,
    chunks,
    figures,
    inspect,
    resize,
    segments,
    settings,
    spaces,
    system,
    trees,
)
from heapwright.layout import NULL, WORD, Array, Atomic, Byte, Inline, Struct, Word, Word16, Word32

walk, check, lists = inspect.walk, inspect.check, inspect.lists
survey, tune = figures.survey, settings.tune
fork_prepare, fork_parent, fork_child = spaces.fork_prepare, spaces.fork_parent, spaces.fork_child
release_held = spaces.release_held

OVERHEAD = 8
SMALLEST = 32
ALIGN = 16
ALLOC_COST = "O(1) up to 232 bytes, then O(bits of the size)"
DEALLOC_COST = "O(bits of the size)"
GIVES_BACK = "top beyond 2 MiB, empty mapped segments, mappings; `trim`: whole pages of free chunks"

TUNABLES = (("FOOTERS", "FOOTERS", (0, 1)),)
FOOTERS = 0  # 1: chunks in use end with the heap's mark
MAX_SMALL = 232 - WORD * FOOTERS  # the largest request whose chunk lies in a small bin
MAX_BYTES = bits.MAX_WORD // 4
DETECTS = ("double free", "foreign")
RETAINS = 2 << 12  # the break is lowered only to the end of a page
SLOW_PATHS = (
    "alloc_aligned",
    "corrupted",
    "give_back",
    "insert_tree",
    "is_apart",
    "release_unused",
    "remap_chunk",
    "split_larger",
    "take_from_kernel",
    "take_large",
    "trim_end",
    "unlink_tree",
    "unmap_chunk",
)


class Heap(Struct):
    small_map: Word32
    tree_map: Word32
    victim_size: Word
    top_size: Word
    min_address: Word  # the lowest address that ever came from the kernel
    victim: chunks.Chunk
    top: chunks.Chunk  # null until the first call
    segment: Inline[segments.Segment]  # the newest segment, which contains top
    trim_check: Word  # size of top above which it is trimmed
    release_checks: Word  # large chunks still to be freed before the next search for empty segments
    small_bins: Array[Word, 66]
    tree_bins: Array[trees.Tree, 32]
    footprint: Word
    peak: Word
    break_use: Word16  # whether segments come from the break: see `segments`
    is_locked: Byte  # a space with a lock of its own
    is_tracking: Byte  # large chunks come from segments, not from mappings
    mapped_chunks: Word32  # number of chunks that are mappings
    limit: Word  # of the footprint, if it is not zero
    lock: Atomic[Word]
    next: Heap  # the next space
    first: Heap  # of a space: the program's heap, which has the list of spaces
    magic: Array[Word, FOOTERS]  # drawn when the heap opens
    settings: Inline[settings.Settings]  # of the first heap; a space ends before them


# --- a small request


def take_small(heap, size):
    index = bins.small_index(size)
    marked = heap.small_map >> index
    if marked & 1 != 0:
        chunk = bins.take_first_small(heap, index)
        chunks.use_whole(heap, chunk, size)
        return chunks.address_of(chunk)
    if size <= heap.victim_size:
        return chunks.address_of(bins.take_from_victim(heap, size))
    if marked != 0 or heap.tree_map != 0:
        return split_larger(heap, size, marked)
    return take_beyond(heap, size)


def split_larger(heap, size, marked):
    """Take from the smallest larger chunk; the rest becomes the victim."""
    if marked != 0:
        return split_small(heap, bins.small_index(size) + bits.lowest_bit(marked), size)
    return split_smallest(heap, size)


def split_small(heap, index, size):
    chunk = bins.take_first_small(heap, index)
    return cut_for_victim(heap, chunk, size, index * 8 - size)


def split_smallest(heap, size):
    tree, rest = trees.smallest_tree(heap, size)
    trees.unlink_tree(heap, tree)
    return cut_for_victim(heap, chunks.Chunk(heap.memory, tree.address), size, rest)


def cut_for_victim(heap, chunk, size, rest):
    remainder = chunks.cut(heap, chunk, size, rest)
    if remainder:
        bins.replace_victim(heap, remainder, rest)
    return chunks.address_of(chunk)


# --- a large request


def take_large(heap, size):
    if heap.tree_map != 0:
        tree, rest = trees.best_fit(heap, size)
        if tree and bits.unsigned_less(
            rest, heap.victim_size - size
        ):  # for a victim that is too small, the difference wraps around and is larger than any rest
            return split_best(heap, tree, size, rest)
    return take_unbinned(heap, size)


def split_best(heap, tree, size, rest):
    """Take from a large chunk, and bin the rest."""
    trees.unlink_tree(heap, tree)
    chunk = chunks.Chunk(heap.memory, tree.address)
    remainder = chunks.cut(heap, chunk, size, rest)
    if remainder:
        bins.insert(heap, remainder, rest)
    return chunks.address_of(chunk)


# --- requests that no bin can serve


def take_unbinned(heap, size):
    if size <= heap.victim_size:
        return chunks.address_of(bins.take_from_victim(heap, size))
    return take_beyond(heap, size)


def take_beyond(heap, size):
    """Take from top, or from the kernel; 0 when memory is exhausted."""
    if size < heap.top_size:
        return chunks.address_of(bins.take_from_top(heap, size))
    chunk = system.take_from_kernel(heap, size)
    return chunks.address_of(chunk) if chunk else NULL


# --- alignments above 16


def alloc_aligned(heap, size, align):
    """Take a chunk with room for any alignment, and free the excess at both ends."""
    if size < 0 or size > MAX_BYTES:
        return NULL
    wanted = chunks.chunk_size(heap, size)
    address = malloc(heap, wanted - chunks.overhead(heap) + align + chunks.MIN_CHUNK)
    if address == NULL:
        return NULL
    chunk = chunks.chunk_of(heap, address)
    if not bits.is_aligned(address, align):
        chunk = resize.cut_front(heap, chunk, align)
    if not chunks.is_mapped(chunk) and chunks.size_of(chunk) > wanted + chunks.MIN_CHUNK:
        resize.cut_back(heap, chunk, wanted)
    return chunks.address_of(chunk)


# --- resizing


def move(heap, chunk, align, new_size):
    """Copy a block to a new place; return its address, or 0."""
    address = alloc(heap, new_size, align)
    if address != NULL:
        old = chunks.address_of(chunk)
        heap.memory.copy(address, old, min(new_size, room_in(heap, chunk)))
        dealloc(heap, old, new_size, align)
    return address


# --- the allocator


def malloc(heap, size):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if bits.unsigned_less(size, MAX_SMALL + 1):
        return take_small(heap, chunks.chunk_size(heap, size))
    if bits.unsigned_less(MAX_BYTES, size):
        return NULL
    return take_large(heap, chunks.chunk_size(heap, size))


def alloc(heap, size, align):
    return malloc(heap, size) if align <= chunks.ALIGNMENT else alloc_aligned(heap, size, align)


def dealloc(heap, address, size, align):
    """Unmap the chunk, or merge it with its free neighbours and bin the result."""
    chunk = chunks.chunk_of(heap, address)
    if system.is_own_mapping(heap, chunk):
        system.unmap_chunk(heap, chunk)
        return
    chunk, size = bins.merge(heap, chunk)
    if size != 0:
        bin_freed(heap, chunk, size)
    elif chunk == heap.top and heap.top_size > heap.trim_check:
        segments.trim_end(heap, 0)


def bin_freed(heap, chunk, size):
    """Bin a chunk. Once in RELEASE_RATE large chunks, search for empty segments."""
    bins.insert(heap, chunk, size)
    if not bins.is_small(size):
        heap.release_checks -= 1
        if heap.release_checks == 0:
            segments.release_unused(heap)


def usable_size(heap, address):
    return room_in(heap, chunks.chunk_of(heap, address))


def room_in(heap, chunk):
    return chunks.size_of(chunk) - (chunks.HEADER if chunks.is_mapped(chunk) else chunks.overhead(heap))


def alloc_zeroed(heap, size, align):
    """Clear the block, unless its chunk is a mapping, which the kernel has cleared."""
    address = alloc(heap, size, align)
    if address != NULL and not chunks.is_mapped(chunks.chunk_of(heap, address)):
        heap.memory.fill(address, size, 0)
    return address


def realloc(heap, address, size, align, new_size):
    if bits.unsigned_less(MAX_BYTES, new_size):
        return NULL
    chunk = chunks.chunk_of(heap, address)
    resized = resize_chunk(heap, chunk, new_size, align <= heap.memory.PAGE)
    return chunks.address_of(resized) if resized else move(heap, chunk, align, new_size)


def realloc_in_place(heap, address, new_size):
    """Resize a block that must not move; 0 if it cannot, and then it is unchanged."""
    if bits.unsigned_less(MAX_BYTES, new_size):
        return NULL
    resized = resize_chunk(heap, chunks.chunk_of(heap, address), new_size, 0)
    return address if resized else NULL


def resize_chunk(heap, chunk, new_size, may_move):
    """Resize a chunk without a copy. Only a mapping may move; null if that is not possible."""
    wanted = chunks.chunk_size(heap, new_size)
    if system.is_own_mapping(heap, chunk):
        return system.remap_chunk(heap, chunk, wanted, may_move)
    return chunk if resize.resize(heap, chunk, wanted) else chunk.at(NULL)


def trim(heap, pad):
    """Release the end of top beyond `pad` bytes, empty segments, and pages of free chunks; return the bytes."""
    return segments.trim_end(heap, pad) + system.decommit_free(heap)
