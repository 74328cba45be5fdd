"""Layers: modules written like an allocator that wrap another one, called `inner`.

An allocator's own C functions are written over a stack, too: `inner` is the whole stack, and `bottom` the allocator.
"""

from __future__ import annotations

LAYERS = (
    "complete",
    "sized",
    "locked",
    "counted",
    "traced",
    "sampled",
    "guarded",
)
