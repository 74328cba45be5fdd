"""The numbers that processes leave at their exit, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heapwright.layout import WORD
from heapwright.numbers import numbers_in
from heapwright.stats import Stats

SIZE = WORD + Stats.SIZE  # a process id, then its numbers


def read_records(path: Path) -> list[dict[str, Any]]:
    """One dictionary per process, in the order in which they ended; none if there is no file."""
    data = path.read_bytes() if path.exists() else b""
    return [read_record(data[at : at + SIZE]) for at in range(0, len(data) - SIZE + 1, SIZE)]


def read_record(record: bytes) -> dict[str, Any]:
    return {"pid": int.from_bytes(record[:WORD], "little"), **numbers_in(record[WORD:])}
