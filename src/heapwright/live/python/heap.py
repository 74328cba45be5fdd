"""What was found of CPython's small-object arenas."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class PythonHeap:
    """The arenas of one interpreter: how many, what is used and free in them, and the ranges that they cover."""

    version: str
    arenas: int = 0
    pools: int = 0
    free_pools: int = 0
    used_bytes: int = 0
    free_bytes: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
