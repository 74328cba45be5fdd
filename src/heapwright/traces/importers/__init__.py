"""Open a trace of any known format, which is detected from the content, not from the name."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import Path

from heapwright.traces import format
from heapwright.traces.columns import decompress_all
from heapwright.traces.events import Trace, TraceError
from heapwright.traces.files import read_bytes
from heapwright.traces.importers import android, bpftrace, heaptrack, jeprof, ltrace, memray, mtrace, pytorch, rep, rmm

TEXTS = (
    (android.recognizes, android.read),
    (rep.recognizes, rep.read),
    (heaptrack.recognizes, heaptrack.read),
    (jeprof.recognizes, jeprof.read),
    (rmm.recognizes, rmm.read),
    (bpftrace.recognizes, bpftrace.read),
    (mtrace.recognizes, mtrace.read),
    (ltrace.recognizes, ltrace.read),
    (pytorch.recognizes, pytorch.read),
)
KINDS = "a .hwt trace, or a file of another tool (see docs/formats.md)"
ZIP, GZIP, ZSTD = b"PK\3\4", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UNPACKED_BYTES = 4 << 30  # a compressed file that unpacks to more is refused


def open_trace(path: str | Path) -> Trace:
    """The trace in a file of any known format, plain, compressed with gzip or zstd, or as the only file in a zip.

    `Trace.notes()` counts what was repaired or dropped. Raises TraceError, with the path in front, if the file cannot
    be read, is of no known format, or breaks the rules of its format.

    >>> _ = Path("story.txt").write_text("1: malloc 0x10 100\\n1: realloc 0x20 0x10 200\\n1: free 0x20\\n")
    >>> open_trace("story.txt").summary().peak_live_bytes
    200
    """
    path = Path(path)
    if path.is_dir():
        raise TraceError(f"{path}: is a folder; expected {KINDS}")
    start = read_bytes(path, memray.START_BYTES)
    if not start:
        raise TraceError(f"{path}: is empty; expected {KINDS}")
    if format.MAGIC.startswith(start[: len(format.MAGIC)]):
        return format.read(path)
    if memray.recognizes(start):
        return memray.read(path)
    try:
        return read_data(unpacked(read_bytes(path)))
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error


def unpacked(data: bytes) -> bytes:
    """The content of a compressed file, or the data itself if it is not compressed."""
    if data.startswith(ZIP):
        return unzipped(data)
    if data.startswith(GZIP):
        return gunzipped(data)
    return decompress_all(data, UNPACKED_BYTES) if data.startswith(ZSTD) else data


def gunzipped(data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            content = file.read(UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"the gzip file is damaged: {error}; copy it again") from error
    if len(content) > UNPACKED_BYTES:
        raise TraceError(f"it unpacks to more than {UNPACKED_BYTES >> 30} GiB; unpack it first")
    return content


def unzipped(data: bytes) -> bytes:
    """The only file in a zip. Raises TraceError if there is none, if there are several, or if it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(names) != 1:
                raise TraceError(f"the zip holds {len(names)} files; give one with a single trace in it")
            return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise TraceError(f"the zip is damaged: {error}; copy it again") from error


def read_data(data: bytes) -> Trace:
    """The trace of the content of a file in any known format."""
    for recognizes, read in TEXTS:
        if recognizes(data[:4096]):
            return read(data)
    raise TraceError(f"unknown kind of file; expected {KINDS}")
