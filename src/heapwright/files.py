"""Writing whole files, so that a failure is one clear line and never half a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from heapwright.errors import Mendable


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name only when all of it is on the disk.

    Whatever goes wrong, Ctrl-C included, leaves what was there before; a program that has the old file mapped keeps
    it. A link's target is written, and a device is not: its name would become a file's. Raises Mendable when the file
    cannot be written.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise Mendable(f"{path}: cannot be written: it is not a regular file; nothing was changed")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise Mendable(f"{path}: cannot be written: {error.strerror}; nothing was changed") from error
    finally:
        part.unlink(missing_ok=True)
