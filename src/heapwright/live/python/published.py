"""What an interpreter publishes of itself, 3.13 and later: its version, and whether it runs without the GIL.

Source: CPython Include/internal/pycore_debug_offsets.h, _Py_DebugOffsets. The record begins `_PyRuntime`; a stripped
file has it too, and its cookie is found in the data. It has no offset that leads to the arenas: see `find`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import copy_of
from heapwright.live.glibc.find import data_of
from heapwright.live.memory import Image
from heapwright.live.python.structs import DebugOffsets
from heapwright.live.source import Module

COOKIE = int.from_bytes(b"xdebugpy", "little")
RUNTIME = "_PyRuntime"


class Published(NamedTuple):
    """Major and minor version, and the build."""

    version: str
    is_free_threaded: bool


def published_by(image: Image, module: Module) -> Published | None:
    """What the interpreter in a module says; None if it is older than 3.13, or damaged."""
    place = module.address_of(RUNTIME) or place_of_cookie(image, module)
    try:
        record = record_at(image, place)
        if not place or record.cookie != COOKIE or record.free_threaded not in (0, 1):
            return None
        number = record.version
    except Unreadable:
        return None
    major, minor = number >> 24, number >> 16 & 0xFF
    return Published(f"{major}.{minor}", record.free_threaded == 1) if major == 3 and minor >= 13 else None


def record_at(image: Any, place: int) -> Any:
    return DebugOffsets(image, place)


def place_of_cookie(image: Image, module: Module) -> int:
    for start, end in data_of(module):
        copy = copy_of(image.source, start, end)
        found = np.flatnonzero(copy.words == COOKIE)
        if len(found):
            return start + 8 * int(found[0])
    return 0
