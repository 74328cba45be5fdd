"""Bytes in memory, and values as Rust's `{}` and `{:?}` show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from heapwright.machine.memory import View


def round_up(size: int, align: int) -> int:
    return -(-size // align) * align


def pieces(address: int, size: int) -> Iterator[tuple[int, int]]:
    """The aligned words and the single bytes around them that make up a range, as (address, size)."""
    end = address + size
    while address < end:
        step = 8 if address % 8 == 0 and address + 8 <= end else 1
        yield address, step
        address += step


def read_bytes(memory: View, address: int, size: int) -> bytes:
    words = ((memory.load(place, step), step) for place, step in pieces(address, size))
    return b"".join(word.to_bytes(step, "little", signed=step == 8) for word, step in words)


def write_bytes(memory: View, address: int, data: bytes) -> None:
    for place, step in pieces(address, len(data)):
        part = data[place - address : place - address + step]
        memory.store(place, step, int.from_bytes(part, "little", signed=step == 8))


def display(value: Any) -> str:
    """A value as Rust's `{}` shows it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def debug(value: Any) -> str:
    """A value as Rust's `{:?}` shows it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple | bytes):
        return f"[{', '.join(map(debug, value))}]"
    return display(value) if isinstance(value, bool) else repr(value)
