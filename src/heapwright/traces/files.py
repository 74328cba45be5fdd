"""Reading files, so that a failure is one clear line."""

from __future__ import annotations

from pathlib import Path

from heapwright.traces.events import TraceError


def read_bytes(path: str | Path, most: int = -1) -> bytes:
    """The content of a file, or its first `most` bytes. Raises TraceError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
