"""The numbers that processes leave at their exit, read back."""

from __future__ import annotations

import struct
from pathlib import Path

from heapwright.stats import Stats

NAMES = ("pid", *Stats.fields)
RECORD = struct.Struct(f"<{len(NAMES)}q")


def read_records(path: Path) -> list[dict[str, int]]:
    """One dictionary per process, in the order in which they ended; none if there is no file."""
    data = path.read_bytes() if path.exists() else b""
    whole = len(data) - len(data) % RECORD.size
    return [dict(zip(NAMES, numbers, strict=True)) for numbers in RECORD.iter_unpack(data[:whole])]
