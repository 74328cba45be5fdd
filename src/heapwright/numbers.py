"""The numbers of a heap as Python has them: what `heapwright.stats` says, by name."""

from __future__ import annotations

from typing import Any

from heapwright.layout import Bytes, StructMeta
from heapwright.stats import Stats


def numbers_of(stats: Any) -> dict[str, Any]:
    """The fields of a `Stats` by name; `classes` is a list of those that ever served, the smallest first."""
    classes = [by_name(stats.classes[i]) for i in range(len(stats.classes))]
    return by_name(stats) | {"classes": [each for each in classes if each["requests"]]}


def by_name(struct: Any) -> dict[str, Any]:
    return {field.name: getattr(struct, field.name) for field in type(struct)}


def numbers_in(data: bytes) -> dict[str, Any]:
    """The same, from the bytes of a `Stats` that compiled code filled in."""
    struct: StructMeta = Stats
    return numbers_of(struct(Bytes(data), 0))
