"""The tree bins of dlmalloc: best fit among large chunks, in time that the bits of a size bound.

Two bins for each power of two: 256, 384, 512, 768, 1024, ... up to 12 MiB and everything above. A bin is a trie: at
each level the next lower bit of the size says which child to follow. A node is itself a free chunk, of any size that
belongs below it. Chunks of equal size form a ring, and one of them is the node.

    free chunk -> +--------------------+
                0 | previous_size      |
                8 | head               |
               16 | forward, back      |  the ring of equal sizes
               32 | children           |  0 and 1: the next bit of the size
               48 | parent             |  the root's is its bin; null for those that only hang in a ring
               56 | index              |  of the bin
                  +--------------------+

A heap here is any struct with `tree_map`, `tree_bins` and `least_address`; `dlmalloc` describes them.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc_chunks import must_agree, must_be_ours, size_of
from heapwright.bits import below, floor_log2, lowest_bit
from heapwright.layout import NULL, Array, Struct, Word, Word32

BINS = 32
SHIFT = 8  # the least large chunk has 1 << SHIFT bytes
LAST_BIN_FROM = 1 << SHIFT + BINS // 2


class Tree(Struct):
    previous_size: Word
    head: Word
    forward: Tree
    back: Tree
    children: Array[Tree, 2]
    parent: Tree
    index: Word32


class Slot(Struct):
    """A place that holds a tree: a bin, or a child of a node."""

    tree: Tree


# --- sizes and bins


def tree_index(size):
    """The bin of a size: its power of two, and which half of the way to the next."""
    if size >= LAST_BIN_FROM:
        return BINS - 1
    power = floor_log2(size)
    return (power - SHIFT) * 2 + (size >> power - 1 & 1)


def first_bit(index):
    """The highest bit in which the sizes of a bin differ."""
    return 62 if index == BINS - 1 else (index >> 1) + SHIFT - 2


def bin_slot(heap, index):
    return Slot(heap.memory, heap.tree_bins.at(index))


def child_slot(tree, side):
    return Slot(tree.memory, tree.children.at(side))


def tree_of(chunk):
    return Tree(chunk.memory, chunk.address)


# --- insert


def insert_tree(heap, tree, size):
    index = tree_index(size)
    tree.index = index
    tree.children[0] = tree.at(NULL)
    tree.children[1] = tree.at(NULL)
    slot = bin_slot(heap, index)
    if heap.tree_map & 1 << index == 0:
        heap.tree_map |= 1 << index
        hang(tree, slot, tree.at(slot.address))
    else:
        insert_below(heap, slot.tree, tree, size)


def insert_below(heap, node, tree, size):
    """Follow the bits of the size to an equal, or to an empty place."""
    bit = first_bit(tree.index)
    while size_of(node) != size:
        slot = child_slot(node, size >> bit & 1)
        if not slot.tree:
            must_be_ours(heap, slot)
            hang(tree, slot, node)
            return
        node = slot.tree
        bit -= 1
    join_ring(heap, node, tree)


def hang(tree, slot, parent):
    """Make the tree a node, alone in its ring."""
    slot.tree = tree
    tree.parent = parent
    tree.forward = tree
    tree.back = tree


def join_ring(heap, node, tree):
    """Come right after the node, whose place its back, the oldest, inherits: equals leave in the order they came."""
    forward = node.forward
    must_be_ours(heap, node)
    must_be_ours(heap, forward)
    node.forward = tree
    forward.back = tree
    tree.forward = forward
    tree.back = node
    tree.parent = tree.at(NULL)


# --- unlink


def unlink_tree(heap, tree):
    heir = leave_ring(heap, tree) if tree.back != tree else cut_leaf(heap, tree)
    if tree.parent:
        replace(heap, tree, heir)


def leave_ring(heap, tree):
    forward, back = tree.forward, tree.back
    must_be_ours(heap, forward)
    must_agree(heap, forward.back == tree, tree)
    must_agree(heap, back.forward == tree, tree)
    forward.back = back
    back.forward = forward
    return back


def cut_leaf(heap, tree):
    """Cut off and return the rightmost leaf below: any leaf may take any place above it. Null if there is none."""
    slot = right_slot(tree)
    leaf = slot.tree
    if leaf:
        deeper = right_slot(leaf)
        while deeper.tree:
            slot = deeper
            deeper = right_slot(slot.tree)
        leaf = slot.tree
        must_be_ours(heap, slot)
        slot.tree = leaf.at(NULL)
    return leaf


def right_slot(tree):
    """The place of the larger child, or of the only one."""
    return child_slot(tree, 1 if tree.children[1] else 0)


def replace(heap, tree, heir):
    """Give a node's place, or nothing if the heir is null, to its heir."""
    parent = tree.parent
    slot = bin_slot(heap, tree.index)
    if slot.tree == tree:
        slot.tree = heir
        if not heir:
            heap.tree_map &= ~(1 << tree.index)
    else:
        must_be_ours(heap, parent)
        parent.children[0 if parent.children[0] == tree else 1] = heir
    if heir:
        must_be_ours(heap, heir)
        heir.parent = parent
        adopt(heap, heir, tree, 0)
        adopt(heap, heir, tree, 1)


def adopt(heap, heir, tree, side):
    child = tree.children[side]
    if child:
        must_be_ours(heap, child)
        heir.children[side] = child
        child.parent = heir


# --- find


def best_fit(heap, size):
    """The least chunk of at least `size` bytes and what it leaves; null if there is none."""
    index = tree_index(size)
    best, rest, larger = search_bin(heap.tree_bins[index], size, first_bit(index))
    if not best and not larger:
        larger = first_above(heap, index)
    return least_below(larger, size, best, rest)


def search_bin(node, size, bit):
    """The best fit on the path of the size's bits, what it leaves, and the last subtree to the right of the path.

    A rest is compared without its sign, so that a chunk that is too small leaves more than any other.
    """
    best, rest, larger = node.at(NULL), -size, node.at(NULL)
    while node:
        surplus = size_of(node) - size
        if below(surplus, rest):
            best, rest = node, surplus
            if rest == 0:
                return best, rest, node.at(NULL)
        right = node.children[1]
        node = node.children[size >> bit & 1]
        if right and right != node:
            larger = right
        bit -= 1
    return best, rest, larger


def first_above(heap, index):
    """The root of the next bin that is not empty, or null."""
    bins = heap.tree_map & -2 << index
    return heap.tree_bins[lowest_bit(bins)] if bins != 0 else heap.tree_bins[index].at(NULL)


def least_below(node, size, best, rest):
    """The least of a subtree lies on its leftmost path."""
    while node:
        surplus = size_of(node) - size
        if below(surplus, rest):
            best, rest = node, surplus
        node = leftmost_child(node)
    return best, rest


def leftmost_child(tree):
    left = tree.children[0]
    return left if left else tree.children[1]


def least_tree(heap, size):
    """The least of all large chunks and what it leaves of `size` bytes; the map is not empty."""
    root = heap.tree_bins[lowest_bit(heap.tree_map)]
    return least_below(leftmost_child(root), size, root, size_of(root) - size)
