"""The claim: the library that a worker's malloc must come from. The lab writes it; the worker checks it first.

Both sides read it through this struct, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Byte, Struct
from heapwright.native.runtime.linux import MAX_PATH

FOREIGN = 75  # the exit status of a worker whose malloc is not the claimed one


class Claim(Struct):
    """Zero-terminated texts."""

    library: Array[Byte, MAX_PATH]  # the path of the library; empty for the C library
    functions: Array[Byte, 64]  # the names of the functions that must come from it, then an empty name
    wrong: Array[Byte, 64]  # the first function that comes from elsewhere
    found: Array[Byte, MAX_PATH]  # the path of the library that it comes from
