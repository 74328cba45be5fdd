"""Read files, so that a failure is one clear line."""

from __future__ import annotations

from pathlib import Path

from heapwright.traces.events import TraceError


def read_bytes(path: str | Path, maximum: int = -1) -> bytes:
    """The content of a file, or its first `maximum` bytes. Raises TraceError if it is not a readable regular file."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a device may have no end; a pipe can be read only once
            raise TraceError(f"{path}: cannot be read: it is not a regular file")
        with path.open("rb") as file:
            return file.read(maximum)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
