"""The processor's clock for Python code, from a compiled library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from heapwright.native.library import functions_library, opened


def processor_clock() -> Callable[[], int]:
    """A function that reads the processor's clock."""
    from heapwright.native.jobs import clock

    function = opened(functions_library(clock)).ticks
    function.restype = ctypes.c_int64
    return function
