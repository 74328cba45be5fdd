"""Reading raw recordings: whatever a process left behind, in whatever state, becomes the events of a trace.

A process may be killed at any moment, its disk may fill up, and it may write over its own recording. So a record
that makes no sense is counted and left out, and only a file that is no recording at all is refused.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.traces import raw
from heapwright.traces.arrays import I64, np
from heapwright.traces.calls import Calls, Story, holders_at, note, resolve, settle
from heapwright.traces.events import Process, Trace, TraceError
from heapwright.traces.files import read_bytes
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = raw.MAGIC.to_bytes(8, "little")
TORN = "torn or damaged records, dropped"
SHORT = "chunks missing from the end of the recording: was the disk full?"
NEVER_BEGUN = "recordings of processes that ended before their first call, left out"
UNFINISHED_REALLOC = "reallocs that never returned, dropped"
MOST_SEQUENCE = 1 << 62


@dataclass
class Recording:
    """One raw recording: its header's fields, and the records that are whole, in the order of their numbers."""

    path: Path
    header: Any  # a numpy record with the fields of raw.Header
    records: NDArray[Any]  # with the fields of raw.Record
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def command(self) -> str:
        words = bytes(self.header["command"]).rstrip(b"\0").split(b"\0")
        return " ".join(word.decode(errors="replace") for word in words)

    @property
    def date(self) -> str:
        """When the process began, in ISO 8601: 64 bits of nanoseconds always are a date, until 2554."""
        return datetime.fromtimestamp(int(self.header["clock"]) // 10**9, UTC).isoformat()


def read_recording(path: str | Path) -> Recording:
    """Read one file. Raises TraceError if it is not a raw recording, or one of a newer version."""
    path, data = Path(path), read_bytes(path)
    if data[:8] != MAGIC:
        raise TraceError(f"{path}: is not a raw recording; give a file that `heapwright record` made")
    if len(data) < raw.HEADER_BYTES:
        raise TraceError(f"{path}: ends at byte {len(data)}, within its header; record the program again")
    header = np.frombuffer(data, dtype_of(raw.Header), 1)[0]
    if header["version"] != raw.VERSION:
        raise TraceError(f"{path}: has version {header['version']}, this reads {raw.VERSION}; update heapwright")
    recording = Recording(path, header, np.empty(0, dtype_of(raw.Record)))
    recording.records = whole_records(data, recording)
    return recording


def whole_records(data: bytes, recording: Recording) -> NDArray[Any]:
    """The records of all chunks that the file still has, without those that are torn."""
    body = np.frombuffer(data, np.uint8, offset=raw.HEADER_BYTES)
    size = len(body)
    chunks = -(-size // raw.CHUNK_BYTES)
    claimed = int(recording.header["chunks"])
    note(recording.notes, SHORT, max(0, claimed - chunks))
    chunks = min(chunks, claimed)
    body = np.pad(body, (0, max(0, chunks * raw.CHUNK_BYTES - size)))[: chunks * raw.CHUNK_BYTES]
    table = body.reshape(chunks, raw.CHUNK_BYTES)
    counts = table[:, : raw.Chunk.SIZE].copy().view(dtype_of(raw.Chunk))["count"].reshape(chunks)
    records = table[:, raw.Chunk.SIZE :].copy().view(dtype_of(raw.Record)).reshape(chunks, raw.RECORDS_PER_CHUNK)
    written = np.arange(raw.RECORDS_PER_CHUNK) < counts[:, None]
    whole = written & makes_sense(records) & (record_ends(chunks) <= size)
    note(recording.notes, TORN, (written & ~whole).sum() + (~written & (records["sequence"] != 0)).sum())
    found = records[whole]
    in_order: NDArray[Any] = found[np.argsort(found["sequence"], kind="stable")]
    return in_order


def record_ends(chunks: int) -> I64:
    """Where each record of each chunk ends, in bytes from the first chunk."""
    first = np.arange(chunks)[:, None] * raw.CHUNK_BYTES + raw.Chunk.SIZE
    return first + np.arange(1, raw.RECORDS_PER_CHUNK + 1) * raw.Record.SIZE


def makes_sense(records: NDArray[Any]) -> Any:
    """A mask of the records that a recorder can have written."""
    numbered = (records["sequence"] > 0) & (records["sequence"] < MOST_SEQUENCE)
    return numbered & (records["op"] >= raw.ALLOC) & (records["op"] <= raw.REALLOC_FROM) & (records["log2_align"] < 64)


def before_in_thread(records: NDArray[Any]) -> I64:
    """For each record, the index of the one before it in the same thread, or -1."""
    order = np.argsort(records["thread"], kind="stable")
    before = np.full(len(records), -1)
    same = records["thread"][order[1:]] == records["thread"][order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    return before


def calls_of(recording: Recording) -> Calls:
    """The recorded calls in the order of their completion; the two halves of a realloc become one."""
    records = recording.records
    ends = records["op"] == raw.REALLOC_TO
    begins = records["op"] == raw.REALLOC_FROM
    before = before_in_thread(records)
    paired = ends & (before >= 0) & begins[before] & (records["address"][before] == records["old"])
    note(recording.notes, UNFINISHED_REALLOC, begins.sum() - paired.sum())
    frees, exits = records["op"] == raw.DEALLOC, records["op"] == raw.THREAD_EXIT
    moment = 2 * records["sequence"].astype(np.int64)
    calls = Calls.in_order(
        op=records["op"],
        log2_align=records["log2_align"],
        thread=records["thread"],
        address=np.where(frees | exits, 0, records["address"]),
        old=np.where(frees, records["address"], np.where(ends, records["old"], 0)),
        size=records["size"],
        released=np.where(paired, moment[before], moment),
        acquired=moment + 1,
    )
    calls = calls[~begins]
    settle(calls, recording.notes)
    return calls


class Family:
    """The recordings of one run, by which a forked child finds the blocks that it has from its parent."""

    def __init__(self, recordings: Iterable[Recording]):
        self.recordings = sorted(recordings, key=lambda each: int(each.header["clock"]))
        self._histories: dict[Path, Calls] = {}

    def parent(self, child: Recording) -> Recording | None:
        """The latest earlier recording with the pid of the child's parent and as many execs, if it was forked."""
        header = child.header
        if not header["fork_sequence"]:
            return None
        found = [
            each
            for each in takewhile(lambda each: each is not child, self.recordings)
            if each.header["pid"] == header["parent"] and each.header["execs"] == header["execs"]
        ]
        return found[-1] if found else None

    def history(self, recording: Recording) -> Calls:
        """A process's calls, and before them those that allocate all that was live when it was forked."""
        if recording.path not in self._histories:
            calls = calls_of(recording)
            if parent := self.parent(recording):
                calls = self.inherited(parent, recording).followed_by(calls)
            self._histories[recording.path] = calls
        return self._histories[recording.path]

    def inherited(self, parent: Recording, child: Recording) -> Calls:
        """What was live in the parent at the fork, allocated by the child's first thread before its first event."""
        held = holders_at(self.history(parent), 2 * int(child.header["fork_sequence"]) + 1)
        held.inherited[:] = True
        held.thread[:] = child.records["thread"][0] if len(child.records) else 0
        held.acquired[:] = held.released[:] = -1
        return held

    def process(self, recording: Recording) -> Process:
        """The process's events; of the inherited blocks, only those that it used."""
        history = self.history(recording)
        own = history[~history.inherited]
        used = np.isin(history.address, Story.of(own).orphans())
        header = recording.header
        notes = recording.notes.copy()
        events = resolve(history[~history.inherited | used], notes)
        return Process(
            events, int(header["pid"]), int(header["parent"]), int(header["execs"]), recording.command, notes
        )


def import_recordings(paths: Iterable[str | Path]) -> Trace:
    """A trace of the raw recordings of one run, its processes in the order in which they began.

    A file whose header was never written is left out. Raises TraceError when no other is there, or one of them
    cannot be read.
    """
    paths = list(paths)
    begun = [path for path in paths if any(read_bytes(path, len(MAGIC)))]
    if not begun:
        raise TraceError("there is no raw recording; record the program again")
    family = Family([read_recording(path) for path in begun])
    first = family.recordings[0]
    note(first.notes, NEVER_BEGUN, len(paths) - len(begun))
    return Trace(
        [family.process(each) for each in family.recordings],
        source="recording",
        program=first.command.split(" ")[0],
        command=first.command.split(" ") if first.command else [],
        date=first.date,
        host={"pointer_size": 8, "page_size": mmap.PAGESIZE},
    )
