"""Start and stop a recording from outside: the file of `heapwright record --control` leads to the run's ring.

It is a symbolic link, so it needs no bytes of its own, and a control file that a killed recording left behind leads
nowhere.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heapwright.errors import UserError
from heapwright.lab import phases
from heapwright.memory import BufferMemory
from heapwright.traces import raw


def check_control(file: Path) -> None:
    """Raise UserError, before any work is done, if no control file can be made there."""
    if os.path.lexists(file) and not is_left_behind(file):
        raise UserError(f"{file} exists: name a control file that does not, or remove it")
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise UserError(f"{file}: cannot be written: name a control file in a folder that you may write to")


def is_left_behind(file: Path) -> bool:
    """Whether a recording that was killed left this control file."""
    return file.is_symlink() and not file.exists() and os.readlink(file).endswith(raw.SUFFIX)


@contextmanager
def control_file(file: Path, ring: Path) -> Iterator[None]:
    """Have a control file inside the context."""
    if is_left_behind(file):
        file.unlink()
    try:
        file.symlink_to(ring)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}; name another control file") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def header_of(file: Path) -> Iterator[Any]:
    """The header of the run that a control file leads to. Raises UserError if there is none."""
    try:
        with file.open("r+b") as ring, mmap.mmap(ring.fileno(), raw.HEADER_BYTES) as data:
            header: Any = raw.Header(BufferMemory(data), 0)  # type: ignore[arg-type]  # loads and stores suffice
            if header.magic != raw.MAGIC or not header.is_controlled:
                raise UserError(f"{file} is not the control file of a recording: see `heapwright record --control`")
            yield header
            data.flush()
    except PermissionError as error:
        raise UserError(f"{file}: this recording belongs to another user: run as that user, or as root") from error
    except (OSError, ValueError) as error:  # ValueError: the file is shorter than a header
        raise UserError(f"no recording runs with the control file {file}") from error


def switch(file: Path, wanted: bool) -> bool:
    """Start or stop recording. Returns False if that was so already. Raises UserError when the recording has ended."""
    with header_of(file) as header:
        if wanted and header.stopped.load():
            raise UserError(f"the recording of {file} has ended, and cannot be started again")
        return phases.change(header, wanted)


def is_recording(file: Path) -> bool:
    """Whether calls are recorded now."""
    with header_of(file) as header:
        return phases.is_recording(header)
