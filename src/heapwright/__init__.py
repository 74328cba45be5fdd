"""Heap allocators written once in Python: simulated, checked, drawn, and compiled to a real malloc.

    >>> from heapwright import start
    >>> heap = start("kr")                # a heap in a simulated process; every load and store is checked
    >>> block = heap.alloc(24)
    >>> heap.dealloc(block)
    >>> print(heap.draw())                # in a notebook, `heap.draw()` is an SVG
             ── page 0x4000
     0x4000  free      65,536  ░░░░░░░░░░░░░  -> anchor; crosses 15 page boundaries from 0x5000
    0x14000  break
    free list: rover -> 0x4000 -> anchor -> 0x4000

`start` starts a heap, `load` finds an allocator, `run_program` runs a program on one, `open_trace` reads a recording.
Programs for a simulated heap use `heapwright.collections`. Allocators import `heapwright.layout`, `heapwright.bits`
and `heapwright.spans`. For the command line, see `heapwright --help`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from heapwright.allocator import Allocator, load
    from heapwright.allocators import ALLOCATORS
    from heapwright.api import Heap, draw, inspect, start, step
    from heapwright.control import recording
    from heapwright.errors import AllocatorError
    from heapwright.machine import Block, BrokenInvariant, Fault, Kind
    from heapwright.machine.checkpoint import Checkpoint
    from heapwright.pictures.picture import Picture
    from heapwright.programs.run import ProgramResult, run_program
    from heapwright.traces.events import Trace
    from heapwright.traces.importers import open_trace

__all__ = [
    "ALLOCATORS", "Allocator", "AllocatorError", "Block", "BrokenInvariant", "Checkpoint", "Fault", "Heap", "Kind",
    "ProgramResult", "Picture", "Trace", "draw", "inspect", "load", "open_trace", "recording", "run_program", "start",
    "step",
]  # fmt: skip

HOMES = {
    "allocator": ("Allocator", "load"),
    "control": ("recording",),
    "errors": ("AllocatorError",),
    "allocators": ("ALLOCATORS",),
    "api": ("Heap", "draw", "inspect", "start", "step"),
    "machine": ("Block", "BrokenInvariant", "Fault", "Kind"),
    "machine.checkpoint": ("Checkpoint",),
    "pictures.picture": ("Picture",),
    "programs.run": ("ProgramResult", "run_program"),
    "traces.events": ("Trace",),
    "traces.importers": ("open_trace",),
}  # imported when a name is first used (PEP 562), so that `import heapwright` is fast
HOME_OF = {name: home for home, names in HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in HOME_OF:
        raise AttributeError(f"module 'heapwright' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f"heapwright.{HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
