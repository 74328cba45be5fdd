"""A compiled heap inside this process, in its own region, for tests and for Python programs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heapwright.figures import figures_in
from heapwright.native import exports
from heapwright.native.library import library_of, opened
from heapwright.stats import Stats

EXPORTS = exports.STACK | exports.REPORT | exports.LIFECYCLE | exports.KERNEL
DEFAULT_SIZE = 1 << 36  # of the region: address space, not memory


class NativeHeap:
    """An allocator's library, loaded and started on a region of `size` bytes at `start` (anywhere if 0).

    Its methods are the allocator's functions, on numbers: `alloc(size, align)`, `dealloc(address, size, align)`,
    `realloc(address, size, align, new_size)`, `usable_size(address)`, `trim(pad)`, `limit(bytes)`,
    `set_clock(nanoseconds)`, `set_chance(number)`: what the heap draws as random numbers.
    """

    def __init__(self, spec: str, start: int = 0, size: int = DEFAULT_SIZE, library: Path | None = None):
        self.spec = spec
        self.library = opened(library or library_of(spec))
        export = {name: self.export(name, arity) for name, arity in EXPORTS.items()}
        self._begin, self._end, self._stats = export["begin"], export["end"], export["stats"]
        self.alloc, self.alloc_zeroed, self.realloc = export["alloc"], export["alloc_zeroed"], export["realloc"]
        self.dealloc, self.usable_size, self._trim = export["dealloc"], export["usable_size"], export["trim"]
        self.limit, self.set_clock, self.set_chance = export["limit"], export["set_clock"], export["set_chance"]
        self.begin(start, size)

    def export(self, name: str, arity: int) -> Callable[..., int]:
        """An export as a Python function of words."""
        function = getattr(self.library, exports.PREFIX + name)
        function.argtypes, function.restype = [ctypes.c_long] * arity, ctypes.c_long
        export: Callable[..., int] = function
        return export

    def begin(self, start: int = 0, size: int = DEFAULT_SIZE) -> None:
        """Forget the old heap and start one on a new region. Raises MemoryError if it cannot be mapped."""
        if self._begin(start, size) != 0:
            raise MemoryError(f"cannot map a region of {size} bytes at {start:#x}")

    def trim(self, pad: int = 0) -> int:
        """Give free memory back to the kernel, except `pad` bytes at the heap's end. Returns the bytes given back."""
        return self._trim(pad)

    def close(self) -> None:
        """Give the region back to the kernel."""
        self._end()

    def stats(self) -> dict[str, Any]:
        """The fields of `heapwright.stats.Stats`, as `heapwright.figures` gives them."""
        data = ctypes.create_string_buffer(Stats.SIZE)
        self._stats(ctypes.addressof(data))
        return figures_in(data.raw)
