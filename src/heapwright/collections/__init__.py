"""Containers as Rust has them, their contents in the bytes of a simulated heap.

    heap = start(load("kr"))
    with serve(heap):
        x = Box(42)
        print(x.value)
        drop(x)

They ask for memory as Rust's do, by the byte: that is what they are for. Their values are read and written through
the program's checked view, so that an allocator that gives away live memory is found out.
"""

from heapwright.collections.box import Box
from heapwright.collections.errors import CapacityOverflow, NoCaches, OutOfBounds, OutOfMemory, Panic, UseAfterDrop
from heapwright.collections.handle_table import Compaction, HandleTable
from heapwright.collections.hash_map import HashMap
from heapwright.collections.object_cache import ObjectCache
from heapwright.collections.owned import Handle, Option, drop, forget
from heapwright.collections.rc import Rc, Weak
from heapwright.collections.runtime import Operation, Runtime, Watcher, running, serve
from heapwright.collections.string import String
from heapwright.collections.types import (
    Array,
    Bytes,
    Struct,
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
from heapwright.collections.vec import Vec

__all__ = [
    "Array", "Box", "Bytes", "CapacityOverflow", "Compaction", "Handle", "HandleTable", "HashMap", "NoCaches",
    "ObjectCache", "Operation", "Option", "OutOfBounds", "OutOfMemory", "Panic", "Rc", "Runtime", "String", "Struct",
    "Type", "UseAfterDrop", "Vec", "Watcher", "Weak", "boolean", "drop", "f32", "f64", "forget", "i16", "i32", "i64",
    "i8", "running", "serve", "text", "u16", "u32", "u64", "u8", "unit",
]  # fmt: skip
