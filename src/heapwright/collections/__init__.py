"""Rust's containers, with their contents in the bytes of a simulated heap.

    heap = start(load("kr"))
    with serve(heap):
        x = Box(42)
        print(x.value)
        drop(x)

They make the same requests as Rust's, to the byte: that is their purpose. Their values are read and written through the
program's checked view, so an allocator that hands out live memory is caught.
"""

from heapwright.collections.binary_heap import BinaryHeap
from heapwright.collections.box import Box
from heapwright.collections.btree_map import BTreeMap, BTreeSet
from heapwright.collections.errors import CapacityOverflow, NoCaches, OutOfBounds, OutOfMemory, Panic, UseAfterDrop
from heapwright.collections.handle_table import Compaction, HandleTable
from heapwright.collections.hash_map import HashMap, HashSet
from heapwright.collections.layout import Layout, LayoutError, alloc, alloc_zeroed, dealloc, realloc
from heapwright.collections.linked_list import LinkedList
from heapwright.collections.object_cache import ObjectCache
from heapwright.collections.owned import Handle, Option, drop, forget
from heapwright.collections.place import Mut
from heapwright.collections.rc import Arc, ArcWeak, Rc, Weak
from heapwright.collections.runtime import Operation, Runtime, Watcher, running, serve
from heapwright.collections.string import BoxedStr, String
from heapwright.collections.structs import StructType
from heapwright.collections.types import (
    ArrayType,
    BytesType,
    Type,
    boolean,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    text,
    u8,
    u16,
    u32,
    u64,
    unit,
)
from heapwright.collections.vec import BoxedSlice, Vec
from heapwright.collections.vec_deque import VecDeque

__all__ = [
    "Arc", "ArcWeak", "ArrayType", "BTreeMap", "BTreeSet", "BinaryHeap", "Box", "BoxedSlice", "BoxedStr", "BytesType",
    "CapacityOverflow", "Compaction", "Handle", "HandleTable", "HashMap", "HashSet", "Layout", "LayoutError",
    "LinkedList", "Mut", "NoCaches", "ObjectCache", "Operation", "Option", "OutOfBounds", "OutOfMemory", "Panic",
    "Rc", "Runtime", "String", "StructType", "Type", "UseAfterDrop", "Vec", "VecDeque", "Watcher", "Weak", "alloc",
    "alloc_zeroed", "boolean", "dealloc", "drop", "f32", "f64", "forget", "i16", "i32", "i64", "i8", "realloc",
    "running", "serve", "text", "u16", "u32", "u64", "u8", "unit",
]  # fmt: skip
