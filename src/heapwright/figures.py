"""The statistics of a heap as Python values: the fields of `heapwright.stats` by name."""

from __future__ import annotations

from typing import Any

from heapwright.layout import StructMeta
from heapwright.memory import BufferMemory
from heapwright.stats import UNREPORTED, Stats


def figures_of(stats: Any) -> dict[str, Any]:
    """The fields of a `Stats` by name, None for UNREPORTED. `classes` lists those with requests, smallest first."""
    classes = [by_name(stats.classes[i]) for i in range(len(stats.classes))]
    told = {name: None if value == UNREPORTED else value for name, value in by_name(stats).items()}
    return told | {"classes": [each for each in classes if each["requests"]]}


def by_name(struct: Any) -> dict[str, Any]:
    return {field.name: getattr(struct, field.name) for field in type(struct)}


def figures_in(data: bytes) -> dict[str, Any]:
    """The same fields, from the bytes of a `Stats` that compiled code filled in."""
    struct: StructMeta = Stats
    return figures_of(struct(BufferMemory(data), 0))
