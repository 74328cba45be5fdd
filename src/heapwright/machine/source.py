"""Which line of which file did it: the allocator's, or the user program's."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]


def files_in(*names: str) -> frozenset[str]:
    """The sources that match, in this package."""
    return frozenset(str(path) for name in names for path in PACKAGE.glob(name))


MACHINERY = files_in("machine/*.py", "layout.py", "bits.py")
LIBRARY = MACHINERY | files_in("collections/*.py", "layers/*.py", "libc.py")


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


def _first_outside(files: frozenset[str]) -> Place | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in files:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame is not None else None
