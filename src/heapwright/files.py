"""Atomic writing of files: a failure yields one clear line and never half a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from heapwright.errors import UserError


def check_output(path: Path) -> None:
    """Raise UserError, before any work is done, if no file can be written at a path."""
    if str(path) in ("-", "--"):
        raise UserError(f"'{path}' names no file, and nothing is written to standard output: name a file")
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: cannot be written: it is not a regular file")
        if not path.parent.is_dir():
            raise UserError(f"there is no folder {path.parent} to write {path.name} to")
    except (OSError, RuntimeError) as error:  # a circle of links raises RuntimeError up to Python 3.12
        raise UserError(f"{path}: cannot be written: {os.strerror(getattr(error, 'errno', errno.ELOOP))}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written: {os.strerror(errno.EACCES)}")


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name only when it is completely on the disk.

    Any failure, including Ctrl-C, leaves the old file in place, and a program that has mapped the old file keeps it. A
    symbolic link is followed. A device is refused, because a regular file would replace it. Raises UserError when the
    file cannot be written.
    """
    check_output(Path(path))
    path = Path(path).resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; nothing was changed") from error
    finally:
        part.unlink(missing_ok=True)
