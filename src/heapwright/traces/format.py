"""The `.hwt` file: a trace in independent, compressed, checked chunks.

    "HWTRACE\\0", version (4 bytes), 4 zero bytes
    frame CHNK   up to 2^20 events of one process (heapwright.traces.columns); as many as needed
    frame STCK   the call stacks (heapwright.traces.stacks): two columns, their frames as JSON, compressed, and a column
                 with the stack of each site that the chunks name; if it is empty, a site is the number of its stack
    frame HEAD   JSON: the program, its processes, summaries, notes, where the stacks are, and the index: for each chunk
                 its offset, process, events, the blocks before it, the live bytes at its start
    tail         offset of HEAD (8 bytes), CRC-32 of these 8 bytes, "HWT\\n"

A frame is a name (4 bytes), the CRC-32 of the rest of the frame (4), the length of its content (8), and its content.
Numbers are little-endian. What is known only at the end of a run comes last, so a file is written in one pass. Files
are read chunk by chunk: `TraceFile.chunks` holds one decompressed chunk in memory.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from zlib import crc32

from heapwright.files import written_whole
from heapwright.traces import columns
from heapwright.traces.arrays import U32, np
from heapwright.traces.events import Events, Process, Summary, Trace, TraceError, live, no_events, starts, summarize
from heapwright.traces.stacks import Frame, Stacks, as_numbers
from heapwright.wording import size

MAGIC = b"HWTRACE\0"
VERSION = 2
END = b"HWT\n"
SUFFIX = ".hwt"
CHUNK_EVENTS = 1 << 20
START = struct.Struct("<8sII")
FRAME = struct.Struct("<4sIQ")
TAIL = struct.Struct("<QI4s")
LENGTH = struct.Struct("<Q")
RUN_FACTS = "source", "program", "command", "date", "host"
PROCESS_FACTS = "pid", "parent", "execs", "command", "threads", "sample"
BYTES_IN_USE = 200  # for each event, while a command works on a whole trace in memory
NO_SITES = as_numbers(())
AGAIN = "copy the file again, or record again"


@dataclass(frozen=True)
class Chunk:
    """The place of a chunk, and the facts about it that are known without opening it."""

    offset: int  # in bytes, of its frame
    process: int
    events: int
    first_block: int  # the number of blocks of its process that started before it
    live_bytes: int  # at its start
    live_blocks: int


# --- writing


class Writer:
    """A trace that is written to a file chunk by chunk, while its events come.

    What was added waits in memory until `flush` has written it, which may be tried again if the disk is full.
    """

    def __init__(self, file: BinaryIO):
        self.file = file.fileno()
        self._index: list[Chunk] = []
        self._pending = [START.pack(MAGIC, VERSION, 0)]
        self.size = START.size  # of the file, with what waits
        self.written = 0  # bytes that do not wait

    def add(self, process: int, events: Events, blocks: int, live_bytes: int, live_blocks: int) -> None:
        """Add events of a process, before which so many blocks had started, and so much was live."""
        self.add_encoded(process, len(events), columns.encode(events, blocks), blocks, live_bytes, live_blocks)

    def add_encoded(
        self, process: int, events: int, content: bytes, blocks: int, live_bytes: int, live_blocks: int
    ) -> None:
        """The same for events that are encoded already."""
        offset = self._frame(b"CHNK", content)
        self._index.append(Chunk(offset, process, events, blocks, live_bytes, live_blocks))

    def finish(
        self,
        header: dict[str, Any],
        stacks: Stacks,
        places: Mapping[int, int] | None = None,
        sites: array[int] = NO_SITES,
    ) -> None:
        """Add what is known at the end, and write everything.

        `places` has other numbers for the processes, and `sites` the stack of each site, if the events that were added
        had their own numbers.
        """
        places = places or {chunk.process: chunk.process for chunk in self._index}
        index = [asdict(chunk) | {"process": places[chunk.process]} for chunk in self._index]
        place = self._frame(b"STCK", encode_stacks(stacks, sites))
        offset = LENGTH.pack(self._frame(b"HEAD", as_json(header | {"stacks": place, "index": index})))
        self._append(offset + TAIL.pack(0, crc32(offset), END)[LENGTH.size :])
        self.flush()

    def flush(self) -> None:
        """Write what waits. Raises OSError if the file takes no more."""
        while self._pending:
            data = self._pending[0]
            done = os.pwrite(self.file, data, self.written)
            self.written += done
            self._pending[:1] = [data[done:]] if done < len(data) else []

    def _frame(self, name: bytes, content: bytes) -> int:
        """Add a frame. Returns its offset."""
        offset, length = self.size, LENGTH.pack(len(content))
        self._append(FRAME.pack(name, crc32(content, crc32(length)), len(content)) + content)
        return offset

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self.size += len(data)


def write(path: str | Path, trace: Trace) -> None:
    """Write a trace to `path`, all of it or nothing. Raises UserError if the file cannot be written."""
    with written_whole(path) as file:
        writer = Writer(file)
        for number, process in enumerate(trace.processes):
            add_all(writer, number, process.events)
        writer.finish(header_of(trace), trace.stacks)


def add_all(writer: Writer, process: int, events: Events) -> None:
    """Add all events of one process."""
    live_bytes, live_blocks = (np.concatenate(([0], column)) for column in live(events))
    started = np.concatenate(([0], np.cumsum(starts(events))))
    for first in range(0, len(events), CHUNK_EVENTS):
        before = int(started[first]), int(live_bytes[first]), int(live_blocks[first])
        writer.add(process, events[first : first + CHUNK_EVENTS], *before)
        writer.flush()


def encode_stacks(stacks: Stacks, sites: array[int] = NO_SITES) -> bytes:
    """The content of STCK."""
    frames = as_json([list(frame) for frame in stacks.frames])
    content: list[bytes | array[int]] = [stacks.parents, stacks.innermost, frames, sites]
    return b"".join(map(columns.encode_numbers, content))


def decode_stacks(content: bytes) -> tuple[Stacks, U32]:
    """The stacks that were encoded, and the stack of each site. Raises Damaged if the content contradicts itself."""
    reader = columns.Reader(content)
    parents, innermost, text, sites = (reader.any_column() for _ in range(4))
    try:
        frames = [Frame(*fields) for fields in json.loads(text.astype("u1").tobytes())]
    except (TypeError, ValueError) as error:
        raise columns.Damaged("its frames make no sense") from error
    numbers = np.arange(1, len(parents))
    if len(parents) != len(innermost) or (parents[1:] >= numbers).any() or (innermost[1:] >= len(frames)).any():
        raise columns.Damaged("its stacks make no sense")
    if (sites >= len(parents)).any():
        raise columns.Damaged("its sites make no sense")
    return Stacks(frames, as_numbers(parents), as_numbers(innermost)), sites.astype("u4")


def header_of(trace: Trace) -> dict[str, Any]:
    """The content of HEAD, without the places of other frames."""
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
    """An open `.hwt` file. Its header, summary and index are read at once, its events on demand.

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
        self.header: dict[str, Any] = self._json(self._tail(), b"HEAD", "the header")
        try:
            self.index = [Chunk(**entry) for entry in self.header["index"]]
            for process in self.header["processes"]:
                process["sample"] = int(process.get("sample", 0))
            self.summary = Summary(**self.header["summary"])
            self.summaries = [Summary(**process["summary"]) for process in self.header["processes"]]
            if any(chunk.process >= len(self.summaries) for chunk in self.index):
                raise ValueError("a chunk of no process")
            self._stacks_offset = int(self.header["stacks"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._error("has a header that makes no sense", AGAIN) from error

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        """The number of events of all processes."""
        return sum(chunk.events for chunk in self.index)

    def chunks(self, process: int = 0) -> Iterator[Events]:
        """The events of one process, in order, at most 2^20 at a time. Blocks keep their numbers throughout."""
        for number, chunk in enumerate(self.index):
            if chunk.process == process:
                yield self._chunk(number, chunk)

    def last_chunk(self, process: int) -> Events:
        """The last events of one process; none if it has none."""
        for number, chunk in reversed(list(enumerate(self.index))):
            if chunk.process == process:
                return self._chunk(number, chunk)
        return no_events()

    @property
    def stacks(self) -> Stacks:
        """The call stacks that the events' sites refer to."""
        return self._stacks_and_sites[0]

    @cached_property
    def _stacks_and_sites(self) -> tuple[Stacks, U32]:
        content = self._frame(self._stacks_offset, b"STCK", "the stacks")
        try:
            return decode_stacks(content)
        except columns.Damaged as damage:
            raise self._error(f"the stacks are damaged: {damage}", AGAIN) from damage

    def decode_all(self) -> Trace:
        """The whole trace in memory. Raises TraceError if it does not fit."""
        require_memory(self.path, len(self))
        processes = [
            Process(
                Events.join(list(self.chunks(number))),
                **{name: facts[name] for name in PROCESS_FACTS},
                notes=Counter(facts["notes"]),
            )
            for number, facts in enumerate(self.header["processes"])
        ]
        return Trace(processes, **{name: self.header[name] for name in RUN_FACTS}, stacks=self.stacks)

    def _chunk(self, number: int, chunk: Chunk) -> Events:
        what = f"chunk {number}"
        content = self._frame(chunk.offset, b"CHNK", what)
        if not 0 <= chunk.events <= CHUNK_EVENTS:
            raise self._error(f"{what} claims {chunk.events} events", AGAIN)
        try:
            return self._with_stacks(columns.decode(content, chunk.events, chunk.first_block))
        except columns.Damaged as damage:
            raise self._error(f"{what} is damaged: {damage}", AGAIN) from damage

    def _with_stacks(self, events: Events) -> Events:
        """The events, whose sites are now numbers of stacks."""
        sites = self._stacks_and_sites[1]
        if not len(sites) or not events.site.any():
            return events
        if events.site.max() >= len(sites):
            raise columns.Damaged("it has a site that is not known")
        return replace(events, site=sites[events.site])

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
        if version == 1:
            raise self._error(f"has version 1, this reads {VERSION}", "record again")
        if version < 1 or zero:
            raise self._error("is damaged at its start", AGAIN)

    def _tail(self) -> int:
        """The offset of the header."""
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


def require_memory(path: str | Path, events: int) -> None:
    """Raise TraceError unless so many events, and what is made of them, fit into the memory that is free."""
    free = free_memory()
    if free is not None and events * BYTES_IN_USE > free:
        need = f"{events:,} events need about {size(events * BYTES_IN_USE)} of memory, and {size(free)} are free"
        remedy = "cut a part out of it (`heapwright trace cut`); `heapwright compare` without --curves, --map, --html"
        raise TraceError(f"{path}: its {need}; {remedy} or --threads reads any trace")


def free_memory() -> int | None:
    """The bytes that programs may still take; None if the kernel does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None


def read(path: str | Path) -> Trace:
    """The whole trace of a `.hwt` file."""
    with TraceFile(path) as file:
        return file.decode_all()
