"""Opening a trace of whatever kind: it is known by its content, not by its name."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from heapwright.traces import format, raw, recording
from heapwright.traces.events import Trace, TraceError
from heapwright.traces.files import read_bytes
from heapwright.traces.importers import android, mtrace, rep

TEXTS = (android.recognizes, android.read), (rep.recognizes, rep.read), (mtrace.recognizes, mtrace.read)
KINDS = "a .hwt trace, a recording, Android memory_replay text, malloc-lab .rep or glibc mtrace text"
ZIP = b"PK\3\4"


def open_trace(path: str | Path) -> Trace:
    """The trace in a file of any known kind, plain or alone in a zip, or in a directory of raw recordings.

    What was repaired or dropped is in `Trace.notes()`. Raises TraceError, with the path in front, when the file
    cannot be read, is of no known kind, or breaks the rules of its kind.
    """
    path = Path(path)
    if path.is_dir():
        recordings = sorted(path.glob(f"*{raw.SUFFIX}"))
        if not recordings:
            raise TraceError(f"{path}: is a folder without raw recordings; expected {KINDS}")
        return recording.import_recordings(recordings)
    start = read_bytes(path, len(format.MAGIC))
    if not start:
        raise TraceError(f"{path}: is empty; expected {KINDS}")
    if format.MAGIC.startswith(start):
        return format.read(path)
    if start == recording.MAGIC:
        return recording.import_recordings([path])
    data = read_bytes(path)
    try:
        return read_text(unzipped(data) if data.startswith(ZIP) else data)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error


def unzipped(data: bytes) -> bytes:
    """The one file in a zip. Raises TraceError when there is none, or several, or it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(names) != 1:
                raise TraceError(f"the zip holds {len(names)} files; give one with a single trace in it")
            return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise TraceError(f"the zip is damaged: {error}; copy it again") from error


def read_text(text: bytes) -> Trace:
    """The trace of a text of any known kind."""
    for recognizes, read in TEXTS:
        if recognizes(text[:4096]):
            return read(text)
    raise TraceError(f"is of no known kind; expected {KINDS}")
