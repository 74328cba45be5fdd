"""Layout, and Rust's functions of std::alloc that take one: for programs that manage raw memory.

    layout = Layout.array(u32, 10)
    address = alloc(layout)
    dealloc(address, layout)

The functions return 0 where Rust's return null. A breach of GlobalAlloc's contract is a fault at the caller's line: a
layout without bytes, or a layout that is not the block's. Source: library/core/src/alloc/layout.rs and global.rs.
"""

from __future__ import annotations

from dataclasses import dataclass

from heapwright.collections.errors import Panic
from heapwright.collections.raw import round_up
from heapwright.collections.runtime import MAX_BYTES, running
from heapwright.collections.types import Type
from heapwright.machine.contract import require_bytes

OWNER = "raw memory"


class LayoutError(Panic):
    """A size and alignment that no object can have."""

    def __init__(self, size: int, align: int):
        super().__init__(f"invalid parameters to Layout::from_size_align: {size} bytes aligned to {align}")


@dataclass(frozen=True)
class Layout:
    """Rust's Layout: a size in bytes and an alignment, a power of two. `Layout.from_size_align(10, 3)` is an error.

    Rounded up to its alignment, the size is at most isize::MAX. A size need not be a multiple of the alignment.
    """

    size: int
    align: int

    def __post_init__(self) -> None:
        is_power = self.align > 0 and self.align & (self.align - 1) == 0
        if not is_power or not 0 <= self.size <= MAX_BYTES - (self.align - 1):
            raise LayoutError(self.size, self.align)

    @classmethod
    def from_size_align(cls, size: int, align: int) -> Layout:
        """The same as `Layout(size, align)`, under Rust's name."""
        return cls(size, align)

    @classmethod
    def new(cls, kind: Type) -> Layout:
        """The layout of a type's values."""
        return cls(kind.size, kind.align)

    @classmethod
    def array(cls, kind: Type, count: int) -> Layout:
        """The layout of `count` adjacent values."""
        return cls(kind.size * count, kind.align)

    def pad_to_align(self) -> Layout:
        """The layout with its size rounded up to a multiple of its alignment."""
        return Layout(round_up(self.size, self.align), self.align)

    def align_to(self, align: int) -> Layout:
        """The layout with at least this alignment."""
        return Layout(self.size, max(self.align, Layout(0, align).align))

    def extend(self, following: Layout) -> tuple[Layout, int]:
        """The layout of a struct with one more field, without padding at the end, and the offset of that field."""
        offset = round_up(self.size, following.align)
        return Layout(offset + following.size, max(self.align, following.align)), offset

    def repeat(self, count: int) -> tuple[Layout, int]:
        """The layout of `count` values, padded in between but not at the end, and the distance of their starts."""
        stride = self.pad_to_align().size
        return Layout(stride * (count - 1) + self.size if count else 0, self.align), stride


def alloc(layout: Layout) -> int:
    """Allocate a block for a layout; return its address, or 0."""
    return request("alloc", layout, zeroed=False)


def alloc_zeroed(layout: Layout) -> int:
    """Allocate a block full of zeros; return its address, or 0."""
    return request("alloc_zeroed", layout, zeroed=True)


def request(name: str, layout: Layout, *, zeroed: bool) -> int:
    runtime = running()
    require_bytes(runtime.heap.process, f"{name}({layout.size}, {layout.align})", layout.size)
    return runtime.request(layout.size, layout.align, OWNER, zeroed=zeroed)


def realloc(address: int, layout: Layout, new_size: int) -> int:
    """Resize a block, which may move; return its address, or 0 if it failed and the block is unchanged."""
    runtime = running()
    require_bytes(runtime.heap.process, f"realloc({address:#x}, {layout.size}, {layout.align}, {new_size})", new_size)
    return runtime.request_other(address, new_size, layout.size, layout.align)


def dealloc(address: int, layout: Layout) -> None:
    """Free a block that `alloc` returned for this layout."""
    running().dealloc(address, layout.size, layout.align)
