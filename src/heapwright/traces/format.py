"""The `.hwt` file: a trace in independent, compressed, checked chunks.

    "HWTRACE\\0", version (4 bytes), 4 zero bytes
    frame HEAD   JSON: the program, its processes, summaries, notes
    frame CHNK   up to 2^20 events of one process (heapwright.traces.columns); as many as needed
    frame INDX   JSON: for each chunk its offset, process, events, the blocks before it, what is live at its start
    tail         offset of INDX (8 bytes), CRC-32 of these 8 bytes, "HWT\\n"

A frame is a name (4 bytes), the CRC-32 of all that follows in it (4), the length of its content (8), its content.
Numbers are little-endian. Files are read chunk by chunk: `TraceFile.chunks` holds one of them in memory, decompressed.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from zlib import crc32

from heapwright.files import written_whole
from heapwright.traces import columns
from heapwright.traces.arrays import np
from heapwright.traces.events import Events, Process, Summary, Trace, TraceError, live, starts, summarize

MAGIC = b"HWTRACE\0"
VERSION = 1
END = b"HWT\n"
SUFFIX = ".hwt"
CHUNK_EVENTS = 1 << 20
START = struct.Struct("<8sII")
FRAME = struct.Struct("<4sIQ")
TAIL = struct.Struct("<QI4s")
LENGTH = struct.Struct("<Q")
RUN_FACTS = "source", "program", "command", "date", "host"
PROCESS_FACTS = "pid", "parent", "execs", "command"
AGAIN = "copy the file again, or record again"


@dataclass(frozen=True)
class Chunk:
    """Where a chunk lies, and what is known of it without opening it."""

    offset: int  # in bytes, of its frame
    process: int
    events: int
    first_block: int  # how many blocks of its process started before it
    live_bytes: int  # at its start
    live_blocks: int


# --- writing


def write(path: str | Path, trace: Trace) -> None:
    """Write a trace under `path`, all of it or nothing. Raises Mendable when the disk fails."""
    with written_whole(path) as file:
        file.write(START.pack(MAGIC, VERSION, 0))
        write_frame(file, b"HEAD", as_json(header_of(trace)))
        index = [
            asdict(chunk)
            for number, process in enumerate(trace.processes)
            for chunk in write_chunks(file, number, process.events)
        ]
        offset = LENGTH.pack(write_frame(file, b"INDX", as_json(index)))
        file.write(offset + TAIL.pack(0, crc32(offset), END)[LENGTH.size :])


def write_frame(file: BinaryIO, name: bytes, content: bytes) -> int:
    """Append a frame; return its offset."""
    offset, length = file.tell(), LENGTH.pack(len(content))
    file.write(FRAME.pack(name, crc32(content, crc32(length)), len(content)))
    file.write(content)
    return offset


def write_chunks(file: BinaryIO, process: int, events: Events) -> Iterator[Chunk]:
    """Append one process's events, and tell where each chunk lies."""
    live_bytes, live_blocks = (np.concatenate(([0], column)) for column in live(events))
    started = np.concatenate(([0], np.cumsum(starts(events))))
    for first in range(0, len(events), CHUNK_EVENTS):
        part = events[first : first + CHUNK_EVENTS]
        before = int(started[first])
        offset = write_frame(file, b"CHNK", columns.encode(part, before))
        yield Chunk(offset, process, len(part), before, int(live_bytes[first]), int(live_blocks[first]))


def header_of(trace: Trace) -> dict[str, Any]:
    """What HEAD holds."""
    return {name: getattr(trace, name) for name in RUN_FACTS} | {
        "summary": asdict(trace.summary()),
        "processes": [process_header(process) for process in trace.processes],
    }


def process_header(process: Process) -> dict[str, Any]:
    facts = {name: getattr(process, name) for name in PROCESS_FACTS}
    return facts | {"notes": dict(process.notes), "summary": asdict(summarize(process.events))}


def as_json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


# --- reading


class TraceFile:
    """An open `.hwt` file. Its header, summary and index are read at once, its events when asked for.

    Opening and reading raise TraceError for every defect: not a trace, a newer version, truncated, damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._check_start()
        index_offset = self._tail()
        self.header: dict[str, Any] = self._json(START.size, b"HEAD", "the header")
        index = self._json(index_offset, b"INDX", "the index")
        try:
            self.index = [Chunk(**entry) for entry in index]
            self.summary = Summary(**self.header["summary"])
            self.summaries = [Summary(**process["summary"]) for process in self.header["processes"]]
            if any(chunk.process >= len(self.summaries) for chunk in self.index):
                raise ValueError("a chunk of no process")
        except (KeyError, TypeError, ValueError) as error:
            raise self._error("has a header that makes no sense", AGAIN) from error

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        """The events of all processes."""
        return sum(chunk.events for chunk in self.index)

    def chunks(self, process: int = 0) -> Iterator[Events]:
        """The events of one process, at most 2^20 at a time, in order; blocks keep their numbers throughout."""
        for number, chunk in enumerate(self.index):
            if chunk.process == process:
                yield self._chunk(number, chunk)

    def decode_all(self) -> Trace:
        """The whole trace in memory, about 23 bytes for each event."""
        processes = [
            Process(
                Events.join(list(self.chunks(number))),
                **{name: facts[name] for name in PROCESS_FACTS},
                notes=Counter(facts["notes"]),
            )
            for number, facts in enumerate(self.header["processes"])
        ]
        return Trace(processes, **{name: self.header[name] for name in RUN_FACTS})

    def _chunk(self, number: int, chunk: Chunk) -> Events:
        what = f"chunk {number}"
        content = self._frame(chunk.offset, b"CHNK", what)
        if not 0 <= chunk.events <= CHUNK_EVENTS:
            raise self._error(f"{what} claims {chunk.events} events", AGAIN)
        try:
            return columns.decode(content, chunk.events, chunk.first_block)
        except columns.Damaged as damage:
            raise self._error(f"{what} is damaged: {damage}", AGAIN) from damage

    def _check_start(self) -> None:
        start = self._read(0, START.size)
        if not start:
            raise self._error("is empty", AGAIN)
        if start[: len(MAGIC)] != MAGIC[: len(start)]:
            raise self._error("is not a heapwright trace", "see `heapwright record`, or import it")
        if len(start) < START.size:
            raise self._truncated(len(start))
        _, version, zero = START.unpack(start)
        if version > VERSION:
            raise self._error(f"has version {version}, this reads {VERSION}", "update heapwright")
        if version < 1 or zero:
            raise self._error("is damaged at its start", AGAIN)

    def _tail(self) -> int:
        """The offset of the index."""
        size = self._file.seek(0, 2)
        tail = self._read(max(size - TAIL.size, START.size), TAIL.size)
        if len(tail) < TAIL.size or not tail.endswith(END):
            raise self._truncated(size)
        offset, crc, _ = TAIL.unpack(tail)
        if crc32(tail[: LENGTH.size]) != crc:
            raise self._error("is damaged at its end: CRC", AGAIN)
        return int(offset)

    def _frame(self, offset: int, name: bytes, what: str) -> bytes:
        """The content of the frame at `offset`, checked."""
        head = self._read(offset, FRAME.size)
        if len(head) < FRAME.size:
            raise self._truncated(offset + len(head))
        found, crc, length = FRAME.unpack(head)
        room = self._file.seek(0, 2) - offset - FRAME.size - TAIL.size
        if found != name or length > room:
            raise self._error(f"{what} is damaged: there is no {name.decode()} of its length at byte {offset}", AGAIN)
        content = self._read(offset + FRAME.size, length)
        if crc32(content, crc32(LENGTH.pack(length))) != crc:
            raise self._error(f"{what} is damaged: CRC", AGAIN)
        return content

    def _json(self, offset: int, name: bytes, what: str) -> Any:
        content = self._frame(offset, name, what)
        try:
            return json.loads(content)
        except ValueError as error:
            raise self._error(f"{what} is not JSON", AGAIN) from error

    def _read(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(size)
        except (OSError, OverflowError, ValueError) as error:
            raise self._error(f"cannot be read at byte {offset}", AGAIN) from error

    def _truncated(self, at: int) -> TraceError:
        return self._error(f"is truncated at byte {at}", AGAIN)

    def _error(self, what: str, remedy: str) -> TraceError:
        return TraceError(f"{self.path}: {what}; {remedy}")


def read(path: str | Path) -> Trace:
    """The whole trace of a `.hwt` file."""
    with TraceFile(path) as file:
        return file.decode_all()
