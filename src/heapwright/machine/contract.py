"""The caller's side of the contract of Rust's GlobalAlloc.

    alignments are powers of two
    G1   dealloc and realloc are given the size and the alignment with which the block was allocated
    G2   a Layout's size is not 0

C's malloc, calloc and free have no Layouts and allow a size of 0. So does `Heap.alloc`.
Source: library/core/src/alloc/global.rs.
"""

from __future__ import annotations

from heapwright.machine.blocks import Block
from heapwright.machine.fault import Fault, Kind, Victim


def require_alignment(process: Victim, call: str, align: int) -> None:
    if align <= 0 or align & (align - 1):
        raise misuse(process, f"{call}: an alignment of {align} is not a power of two", 0)


def require_bytes(process: Victim, call: str, size: int) -> None:
    """G2."""
    if size == 0:
        raise misuse(process, f"{call}: a Layout without bytes must not be allocated", 0)


def require_same_layout(process: Victim, call: str, block: Block, size: int, align: int) -> None:
    """G1."""
    if (size, align) != (block.size, block.align):
        was = f"{block.size} bytes aligned to {block.align}"
        raise misuse(process, f"{call}: the block was allocated with {was}", block.address)


def misuse(process: Victim, what: str, address: int) -> Fault:
    return Fault(Kind.MISUSE, what, process, address, who="user")
