"""The tree bins of dlmalloc: best fit among large chunks, in time bounded by the number of bits of a size.

There are two bins for each power of two: 256, 384, 512, 768, 1024, ... The last one takes 12 MiB and everything above.
A bin is a trie: at each level, the next lower bit of the size selects the child. Each node is itself a free chunk, of
any size that belongs into its subtree. Chunks of equal size form a ring, and one of them is the node.

    free chunk -> +--------------------+
                0 | previous_size      |
                8 | head               |
               16 | forward, back      |  the ring of equal sizes
               32 | children           |  0 and 1: the next bit of the size
               48 | parent             |  the root's is its bin; null for those that only hang in a ring
               56 | index              |  of a node's bin
                  +--------------------+

A heap here is any struct with `tree_map`, `tree_bins` and `min_address`; `dlmalloc` describes them.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import chunks
from heapwright.layout import NULL, Array, Struct, Word, Word32

BINS = 32
SHIFT = 8  # the smallest large chunk has 1 << SHIFT bytes
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
    """The bin of a size: two for each power of two, one for each half of the way to the next."""
    if size >= LAST_BIN_FROM:
        return BINS - 1
    power = bits.floor_log2(size)
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
    """Follow the bits of the size to a node of equal size, or to an empty slot."""
    bit = first_bit(tree.index)
    while chunks.size_of(node) != size:
        slot = child_slot(node, size >> bit & 1)
        if not slot.tree:
            chunks.must_be_ours(heap, slot)
            hang(tree, slot, node)
            return
        node = slot.tree
        bit -= 1
    join_ring(heap, node, tree)


def hang(tree, slot, parent):
    """Make a chunk a node, alone in its ring."""
    slot.tree = tree
    tree.parent = parent
    tree.forward = tree
    tree.back = tree


def join_ring(heap, node, tree):
    """Insert directly after the node. Its `back`, the oldest, succeeds it, so chunks of equal size leave in order."""
    forward = node.forward
    chunks.must_be_ours(heap, node)
    chunks.must_be_ours(heap, forward)
    node.forward = tree
    forward.back = tree
    tree.forward = forward
    tree.back = node
    tree.parent = tree.at(NULL)


# --- unlink


def unlink_tree(heap, tree):
    successor = leave_ring(heap, tree) if tree.back != tree else cut_leaf(heap, tree)
    if tree.parent:
        replace(heap, tree, successor)


def leave_ring(heap, tree):
    forward, back = tree.forward, tree.back
    chunks.must_be_ours(heap, forward)
    chunks.must_agree(heap, forward.back == tree, tree)
    chunks.must_agree(heap, back.forward == tree, tree)
    forward.back = back
    back.forward = forward
    return back


def cut_leaf(heap, tree):
    """Cut off and return the rightmost leaf below a node, which may take the place of any ancestor; null if none."""
    slot = right_slot(tree)
    leaf = slot.tree
    if leaf:
        deeper = right_slot(leaf)
        while deeper.tree:
            slot = deeper
            deeper = right_slot(slot.tree)
        leaf = slot.tree
        chunks.must_be_ours(heap, slot)
        slot.tree = leaf.at(NULL)
    return leaf


def right_slot(tree):
    """The slot of the right child, or of the left one if there is no right child."""
    return child_slot(tree, 1 if tree.children[1] else 0)


def replace(heap, tree, successor):
    """Put a successor in the place of a node, or leave the place empty if the successor is null."""
    parent = tree.parent
    slot = bin_slot(heap, tree.index)
    if slot.tree == tree:
        slot.tree = successor
        if not successor:
            heap.tree_map &= ~(1 << tree.index)
    else:
        chunks.must_be_ours(heap, parent)
        parent.children[0 if parent.children[0] == tree else 1] = successor
    if successor:
        chunks.must_be_ours(heap, successor)
        successor.index = tree.index  # a trim may have wiped it while the successor hung in a ring
        successor.parent = parent
        adopt(heap, successor, tree, 0)
        adopt(heap, successor, tree, 1)


def adopt(heap, successor, tree, side):
    child = tree.children[side]
    if child:
        chunks.must_be_ours(heap, child)
        successor.children[side] = child
        child.parent = successor


# --- find


def best_fit(heap, size):
    """The smallest chunk of at least `size` bytes, and its rest; null if there is none."""
    index = tree_index(size)
    best, rest, larger = search_bin(heap.tree_bins[index], size, first_bit(index))
    if not best and not larger:
        larger = first_above(heap, index)
    return smallest_below(larger, size, best, rest)


def search_bin(node, size, bit):
    """The best fit on the path of the size's bits, its rest, and the last subtree to the right of the path.

    Rests are compared as unsigned numbers, so the negative rest of a chunk that is too small counts as very large.
    """
    best, rest, larger = node.at(NULL), -size, node.at(NULL)
    while node:
        surplus = chunks.size_of(node) - size
        if bits.unsigned_less(surplus, rest):
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
    return heap.tree_bins[bits.lowest_bit(bins)] if bins != 0 else heap.tree_bins[index].at(NULL)


def smallest_below(node, size, best, rest):
    """Improve a best fit from a subtree of larger chunks, whose smallest lies on the leftmost path."""
    while node:
        surplus = chunks.size_of(node) - size
        if bits.unsigned_less(surplus, rest):
            best, rest = node, surplus
        node = leftmost_child(node)
    return best, rest


def leftmost_child(tree):
    left = tree.children[0]
    return left if left else tree.children[1]


def smallest_tree(heap, size):
    """The smallest of all large chunks, and its rest after `size` bytes. There must be one."""
    root = heap.tree_bins[bits.lowest_bit(heap.tree_map)]
    return smallest_below(leftmost_child(root), size, root, chunks.size_of(root) - size)
