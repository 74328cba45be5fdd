"""Layers: modules written like an allocator, around another one that they call `inner`."""

from __future__ import annotations

LAYERS = (
    "complete",
    "sized",
    "locked",
    "counted",
    "traced",
)
