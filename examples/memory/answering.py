"""What the examples do when they are asked, line by line: `trim` gives memory back, `more` makes and keeps objects."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

MORE = 400_000


def answer(lines: Iterable[str], kept: list[bytes]) -> None:
    """Say that all is ready, and answer each line with one of our own; at the end of the lines, end."""
    print(f"ready: process {os.getpid()}", flush=True)
    for line in lines:
        word = line.strip()
        if word == "trim":
            print(trimmed(), flush=True)
        elif word == "more":
            kept.extend(bytes(700 + number % 100) for number in range(MORE // 100))
            print(len(kept), flush=True)


def trimmed() -> int:
    """By how many bytes malloc_trim(0) made the resident set smaller."""
    libc = ctypes.CDLL(None)
    before = resident()
    libc.malloc_trim(0)
    return before - resident()


def resident() -> int:
    """The resident set in bytes, counted page by page."""
    fields = Path("/proc/self/smaps_rollup").read_text().split()
    return int(fields[fields.index("Rss:") + 1]) * 1024
