"""A compiled heap inside this process, in a region of its own: for tests, and for Python programs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heapwright.native import doors
from heapwright.native.library import library_of
from heapwright.numbers import numbers_in
from heapwright.stats import Stats

DOORS = doors.STACK | doors.REPORT | doors.LIFECYCLE | doors.KERNEL
DEFAULT_SIZE = 1 << 36  # of the region: address space, not memory


class NativeHeap:
    """An allocator's library, loaded and begun on a region at `start` (anywhere if 0) of `size` bytes.

    Its methods are the allocator's functions, over numbers: `alloc(size, align)`, `dealloc(address, size, align)`,
    `realloc(address, size, align, new_size)`, `usable_size(address)`, `trim()`, `limit(bytes)`.
    """

    def __init__(self, spec: str, start: int = 0, size: int = DEFAULT_SIZE, library: Path | None = None):
        self.spec = spec
        self.library = ctypes.CDLL(str(library or library_of(spec)))
        door = {name: self._door(name) for name in DOORS}
        self._begin, self._end, self._stats = door["begin"], door["end"], door["stats"]
        self.alloc, self.alloc_zeroed, self.realloc = door["alloc"], door["alloc_zeroed"], door["realloc"]
        self.dealloc, self.usable_size, self.trim = door["dealloc"], door["usable_size"], door["trim"]
        self.limit = door["limit"]
        self.begin(start, size)

    def _door(self, name: str) -> Callable[..., int]:
        """A door as a function of words."""
        function, arity = getattr(self.library, doors.PREFIX + name), DOORS[name]
        function.argtypes, function.restype = [ctypes.c_long] * arity, ctypes.c_long
        door: Callable[..., int] = function
        return door

    def begin(self, start: int = 0, size: int = DEFAULT_SIZE) -> None:
        """Forget everything and begin on a new region. Raises MemoryError if it cannot be mapped."""
        if self._begin(start, size) != 0:
            raise MemoryError(f"cannot map a region of {size} bytes at {start:#x}")

    def close(self) -> None:
        """Give the region back to the kernel."""
        self._end()

    def stats(self) -> dict[str, Any]:
        """The fields of `heapwright.stats.Stats`, as `heapwright.numbers` gives them."""
        data = ctypes.create_string_buffer(Stats.SIZE)
        self._stats(ctypes.addressof(data))
        return numbers_in(data.raw)
