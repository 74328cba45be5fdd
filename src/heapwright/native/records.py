"""Read the statistics that processes write at exit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heapwright.figures import figures_in
from heapwright.layout import WORD
from heapwright.stats import UNREPORTED, Stats

SIZE = 2 * WORD + Stats.SIZE  # heapwright.native.runtime.report.Record


def read_records(path: Path) -> list[dict[str, Any]]:
    """One dictionary per process, in the order of their exits; an empty list if there is no file."""
    data = path.read_bytes() if path.exists() else b""
    return [read_record(data[at : at + SIZE]) for at in range(0, len(data) - SIZE + 1, SIZE)]


def read_record(record: bytes) -> dict[str, Any]:
    pid, resident = (int.from_bytes(record[at : at + WORD], "little", signed=True) for at in (0, WORD))
    peak = {"peak_resident_bytes": None if resident == UNREPORTED else resident}
    return {"pid": pid, **figures_in(record[2 * WORD :]), **peak}
