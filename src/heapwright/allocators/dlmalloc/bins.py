"""The free chunks of dlmalloc: bins for small ones, trees for large ones, the victim and top; and how they merge.

A small bin is a circle of chunks of one size, most recent first, through a head among the heap's fields. Only its bit
in the map says whether it is empty: the links of an empty bin are stale.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc import chunks, trees
from heapwright.allocators.dlmalloc.chunks import Chunk
from heapwright.layout import NULL

MIN_LARGE = 256  # the smallest chunk size that lies in trees


# --- small bins


def is_small(size):
    return size < MIN_LARGE


def small_index(size):
    """The bin of a small size. Bins are 8 bytes apart, as on 32-bit machines; here every other one stays empty."""
    return size >> 3


def small_bin(heap, index):
    """The head of a bin's circle: a pretended chunk of which only the links exist; it overlaps the bins before it."""
    return Chunk(heap.memory, heap.small_bins.at(2 * index))


def insert_small(heap, chunk, size):
    index = small_index(size)
    head = small_bin(heap, index)
    first = head
    if heap.small_map & 1 << index == 0:
        heap.small_map |= 1 << index
    else:
        first = head.forward
        chunks.must_be_ours(heap, first)
    head.forward = chunk
    first.back = chunk
    chunk.forward = first
    chunk.back = head


def unlink_small(heap, chunk, size):
    index = small_index(size)
    head = small_bin(heap, index)
    forward, back = chunk.forward, chunk.back
    if forward != head:
        chunks.must_be_ours(heap, forward)
    chunks.must_agree(heap, forward.back == chunk, chunk)
    if forward == back:
        heap.small_map &= ~(1 << index)
        return
    if back != head:
        chunks.must_be_ours(heap, back)
    chunks.must_agree(heap, back.forward == chunk, chunk)
    forward.back = back
    back.forward = forward


def take_first_small(heap, index):
    """Unlink and return the most recently freed chunk of a bin."""
    head = small_bin(heap, index)
    chunk = head.forward
    forward = chunk.forward
    if forward == head:
        heap.small_map &= ~(1 << index)
        return chunk
    chunks.must_be_ours(heap, forward)
    chunks.must_agree(heap, forward.back == chunk, chunk)
    head.forward = forward
    forward.back = head
    return chunk


# --- chunks of any size


def insert(heap, chunk, size):
    if is_small(size):
        insert_small(heap, chunk, size)
    else:
        trees.insert_tree(heap, trees.tree_of(chunk), size)


def unlink(heap, chunk, size):
    if is_small(size):
        unlink_small(heap, chunk, size)
    else:
        trees.unlink_tree(heap, trees.tree_of(chunk))


# --- the designated victim: the rest of the last split, in no bin; the first choice when no small bin fits exactly


def set_victim(heap, chunk, size):
    heap.victim = chunk
    heap.victim_size = size


def replace_victim(heap, chunk, size):
    """Make a chunk the victim, and bin the old victim, if any, which is small."""
    if heap.victim_size != 0:
        insert_small(heap, heap.victim, heap.victim_size)
    set_victim(heap, chunk, size)


def take_from_victim(heap, size):
    """Cut a chunk off the victim, or use the whole victim if the rest would be too small."""
    chunk, rest = heap.victim, heap.victim_size - size
    if rest < chunks.MIN_CHUNK:
        chunks.use_whole(heap, chunk, heap.victim_size)
        set_victim(heap, chunk.at(NULL), 0)
    else:
        chunks.use_first(heap, chunk, size)
        chunks.mark_free(chunks.offset_by(chunk, size), rest)
        set_victim(heap, chunks.offset_by(chunk, size), rest)
    return chunk


# --- top: the last chunk of the first segment, which the kernel can extend


def move_top(heap, chunk, size):
    heap.top = chunk
    heap.top_size = size
    chunk.head = size | chunks.PREVIOUS_USED


def take_from_top(heap, size):
    """Cut a chunk off top, which must be larger."""
    chunk = heap.top
    move_top(heap, chunks.offset_by(chunk, size), heap.top_size - size)
    chunks.use_first(heap, chunk, size)
    return chunk


# --- merging


def merge(heap, chunk):
    """Merge a freed chunk with its free neighbours; return the result and its size to bin, 0 for top or victim."""
    size = chunks.size_of(chunk)
    behind = chunks.offset_by(chunk, size)
    chunks.must_agree(heap, chunks.is_previous_used(behind), chunk)
    chunks.wipe_foot(heap, chunk, size)
    if not chunks.is_previous_used(chunk):
        chunk.head = size | chunks.PREVIOUS_USED  # so that a second free is detected
        previous_size = chunk.previous_size
        chunk = chunks.offset_by(chunk, -previous_size)
        chunks.must_be_ours(heap, chunk)
        if chunk != heap.victim:
            unlink(heap, chunk, previous_size)
        size += previous_size
    return merge_behind(heap, chunk, size, behind)


def merge_behind(heap, chunk, size, behind):
    if behind == heap.top:
        if chunk == heap.victim:
            set_victim(heap, chunk.at(NULL), 0)
        move_top(heap, chunk, size + heap.top_size)
        return chunk, 0
    if behind == heap.victim:
        size += heap.victim_size
        chunks.mark_free(chunk, size)
        set_victim(heap, chunk, size)
        return chunk, 0
    if chunks.is_used(behind):
        chunks.mark_freed(chunk, size)
    else:
        behind_size = chunks.size_of(behind)
        unlink(heap, behind, behind_size)
        size += behind_size
        chunks.mark_free(chunk, size)
    if chunk == heap.victim:
        heap.victim_size = size
        return chunk, 0
    return chunk, size


def give_back(heap, chunk):
    """Free a chunk that was cut off a chunk in use or off a new extent."""
    chunk, size = merge(heap, chunk)
    if size != 0:
        insert(heap, chunk, size)
