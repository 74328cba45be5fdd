"""Which line of which file did it: the allocator's, or the user program's."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]
MACHINERY = (str(PACKAGE / "machine"), str(PACKAGE / "layout.py"), str(PACKAGE / "bits.py"))
LIBRARY = (*MACHINERY, str(PACKAGE / "collections"), str(PACKAGE / "libc.py"), str(PACKAGE / "layers"))


class Place(NamedTuple):
    """A line of source."""

    file: str
    line: int
    function: str

    @property
    def text(self) -> str:
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


def line_at_work() -> Place | None:
    """The innermost line outside the machinery: the one whose load or store this is."""
    return _first_outside(MACHINERY)


def line_of_caller() -> Place | None:
    """The innermost line of the user's program."""
    return _first_outside(LIBRARY)


def _first_outside(folders: tuple[str, ...]) -> Place | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(folders):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame is not None else None
