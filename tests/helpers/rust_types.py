"""The types that the programs of operations on Rust's collections use, by their names there."""

from heapwright import collections
from heapwright.collections import Box, BytesType, Handle, String, u32, unit

SIMPLE = {name: getattr(collections, name) for name in ("u8", "u16", "u32", "u64")}
TYPES = SIMPLE | {
    "unit": unit,
    "b3": BytesType(3),
    "b1025": BytesType(1025),
    "string": Handle(String),
    "box": Handle(Box, u32),
}
