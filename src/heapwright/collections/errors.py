"""The errors that end a program: the panics of Rust's containers, and errors that Rust's compiler would refuse."""

from __future__ import annotations


class Panic(Exception):
    """The program cannot go on: xv6rs prints `panic:` and this text, and exits with 1."""


class CapacityOverflow(Panic):
    """A request for more bytes than any object may have."""

    def __init__(self) -> None:
        super().__init__("capacity overflow")


class OutOfMemory(Panic, MemoryError):
    """The allocator returned null."""

    def __init__(self, size: int):
        self.size = size
        super().__init__(f"memory allocation of {size} bytes failed")


class OutOfBounds(Panic, IndexError):
    def __init__(self, index: int, length: int):
        super().__init__(f"index out of bounds: the len is {length} but the index is {index}")


class UseAfterDrop(Panic):
    """A value was used after it was dropped or moved; the text says where that happened."""


class NoCaches(Panic):
    """An object cache was requested from an allocator that has none."""

    def __init__(self, allocator: str):
        super().__init__(f"{allocator} has no object caches: take an allocator with cache_create, such as slab")
