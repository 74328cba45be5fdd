"""The source line behind an action: the allocator's or the user program's, never one of heapwright's own."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]


def files_in(*names: str) -> frozenset[str]:
    """The source files of this package that match."""
    return frozenset(str(path) for name in names for path in PACKAGE.glob(name))


MACHINERY = files_in("machine/*.py", "layout.py", "bits.py")
PARTS = files_in("locks.py", "spans.py", "stats.py", "libc.py", "layers/*.py")  # shared by all allocators
SERVANTS = files_in("collections/*.py", "programs/user.py", "programs/story.py", "stepper/*.py", "api.py")
LIBRARY = MACHINERY | PARTS | SERVANTS
DRIVERS = files_in("conformance/*.py", "programs/run.py", "programs/replay.py", "lab/*.py", "cli/*.py")
ENTRANCES: set[CodeType] = set()  # the functions of the machine that call an allocator


class Place(NamedTuple):
    """A line of source."""

    file: str
    line: int
    function: str

    @property
    def text(self) -> str:
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{file_name(self.file)}:{self.line}"


def file_name(file: str | Path) -> str:
    """How a source is cited: by its name; a module of an allocator's package by both names: `tlsf/blocks.py`."""
    path = Path(file)
    is_room = path.with_name("__init__.py").is_file() and PACKAGE not in (path.parent, path.parent.parent)
    return f"{path.parent.name}/{path.name}" if is_room else path.name


def line_of_allocator() -> Place | None:
    """The allocator's innermost line: the one that makes the load or store."""
    return cited(Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) for frame in frames_in_call())


def line_of_error(error: BaseException) -> Place | None:
    """The allocator's innermost line in the traceback of a Python error."""
    places: list[Place] = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(Place(code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return cited(reversed(places))


def line_of_caller() -> Place | None:
    """The innermost line of the user's program; None if a check or a trace makes the call."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in LIBRARY:
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename in DRIVERS:
        return None
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def line_of_function(function: object) -> Place | None:
    """Where a function is defined."""
    if not isinstance(function, FunctionType) or function.__code__.co_filename in MACHINERY | PARTS:
        return None
    return Place(function.__code__.co_filename, function.__code__.co_firstlineno, function.__code__.co_name)


def frames_in_call(frame: FrameType | None = None) -> Iterator[FrameType]:
    """The frames of the running call of the allocator, innermost first."""
    frame = frame or sys._getframe(1)
    while frame is not None and frame.f_code not in ENTRANCES:
        yield frame
        frame = frame.f_back


def cited(places: Iterable[Place]) -> Place | None:
    """The first place in a source that an allocator's author can change."""
    return next((place for place in places if place.file not in MACHINERY | PARTS), None)
