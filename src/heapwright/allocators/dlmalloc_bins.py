"""The free chunks of dlmalloc: bins for small ones, trees for large ones, the victim and top; and how they merge.

A small bin is a circle of chunks of one size through a head in the heap's words, the latest first. Its bit in the
map alone says whether it holds anything: the links of an empty bin are stale.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc_chunks import (
    LEAST_CHUNK,
    PREVIOUS_USED,
    Chunk,
    is_previous_used,
    is_used,
    mark_free,
    mark_freed,
    must_agree,
    must_be_ours,
    plus,
    size_of,
    use_first,
    use_whole,
    wipe_foot,
)
from heapwright.allocators.dlmalloc_trees import insert_tree, tree_of, unlink_tree
from heapwright.layout import NULL

LEAST_LARGE = 256  # from here on chunks lie in trees


# --- small bins


def is_small(size):
    return size < LEAST_LARGE


def small_index(size):
    """Bins are 8 bytes apart, as on machines with smaller words: here every other one stays empty."""
    return size >> 3


def small_bin(heap, index):
    """The head of a bin's circle: a chunk of which only the links exist, laid over its neighbours in the array."""
    return Chunk(heap.memory, heap.small_bins.at(2 * index))


def insert_small(heap, chunk, size):
    index = small_index(size)
    head = small_bin(heap, index)
    first = head
    if heap.small_map & 1 << index == 0:
        heap.small_map |= 1 << index
    else:
        first = head.forward
        must_be_ours(heap, first)
    head.forward = chunk
    first.back = chunk
    chunk.forward = first
    chunk.back = head


def unlink_small(heap, chunk, size):
    index = small_index(size)
    head = small_bin(heap, index)
    forward, back = chunk.forward, chunk.back
    if forward != head:
        must_be_ours(heap, forward)
    must_agree(heap, forward.back == chunk, chunk)
    if forward == back:
        heap.small_map &= ~(1 << index)
        return
    if back != head:
        must_be_ours(heap, back)
    must_agree(heap, back.forward == chunk, chunk)
    forward.back = back
    back.forward = forward


def take_first_small(heap, index):
    """Unlink and return the chunk that was freed last."""
    head = small_bin(heap, index)
    chunk = head.forward
    forward = chunk.forward
    if forward == head:
        heap.small_map &= ~(1 << index)
        return chunk
    must_be_ours(heap, forward)
    must_agree(heap, forward.back == chunk, chunk)
    head.forward = forward
    forward.back = head
    return chunk


# --- chunks of any size


def insert(heap, chunk, size):
    if is_small(size):
        insert_small(heap, chunk, size)
    else:
        insert_tree(heap, tree_of(chunk), size)


def unlink(heap, chunk, size):
    if is_small(size):
        unlink_small(heap, chunk, size)
    else:
        unlink_tree(heap, tree_of(chunk))


# --- the designated victim: the rest of the last split, in no bin, first choice where no small bin fits exactly


def set_victim(heap, chunk, size):
    heap.victim = chunk
    heap.victim_size = size


def replace_victim(heap, chunk, size):
    """Make a chunk the victim, and bin the old one, which is small or there is none."""
    if heap.victim_size != 0:
        insert_small(heap, heap.victim, heap.victim_size)
    set_victim(heap, chunk, size)


def take_from_victim(heap, size):
    """Cut a chunk off the victim, or use it up where too little would be left."""
    chunk, rest = heap.victim, heap.victim_size - size
    if rest < LEAST_CHUNK:
        use_whole(heap, chunk, heap.victim_size)
        set_victim(heap, chunk.at(NULL), 0)
    else:
        use_first(heap, chunk, size)
        mark_free(plus(chunk, size), rest)
        set_victim(heap, plus(chunk, size), rest)
    return chunk


# --- top: the last chunk of the first segment, which the kernel can extend


def move_top(heap, chunk, size):
    heap.top = chunk
    heap.top_size = size
    chunk.head = size | PREVIOUS_USED


def take_from_top(heap, size):
    """Cut a chunk off top, which is larger."""
    chunk = heap.top
    move_top(heap, plus(chunk, size), heap.top_size - size)
    use_first(heap, chunk, size)
    return chunk


# --- merging


def merge(heap, chunk):
    """Merge a chunk that falls free with its neighbours: (what it became, its size to bin, or 0 for top or victim)."""
    size = size_of(chunk)
    behind = plus(chunk, size)
    must_agree(heap, size > 0 and is_previous_used(behind), chunk)
    wipe_foot(heap, chunk, size)
    if not is_previous_used(chunk):
        previous_size = chunk.previous_size
        chunk = plus(chunk, -previous_size)
        must_be_ours(heap, chunk)
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
        mark_free(chunk, size)
        set_victim(heap, chunk, size)
        return chunk, 0
    if is_used(behind):
        mark_freed(chunk, size)
    else:
        behind_size = size_of(behind)
        unlink(heap, behind, behind_size)
        size += behind_size
        mark_free(chunk, size)
    if chunk == heap.victim:
        heap.victim_size = size
        return chunk, 0
    return chunk, size


def give_back(heap, chunk):
    """Free a chunk that is part of one in use, or of a new stretch."""
    chunk, size = merge(heap, chunk)
    if size != 0:
        insert(heap, chunk, size)
