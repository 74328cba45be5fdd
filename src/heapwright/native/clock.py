"""The processor's clock for Python code, from a compiled library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from heapwright.native.library import functions_library_at, opened
from heapwright.native.own_sources import PACKAGE

CLOCK = "heapwright.native.jobs.clock", PACKAGE / "native" / "jobs" / "clock.py"


def processor_clock() -> Callable[[], int]:
    """A function that reads the processor's clock."""
    function = opened(functions_library_at(*CLOCK)).ticks
    function.restype = ctypes.c_int64
    return function
