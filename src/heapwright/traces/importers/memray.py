"""memray's capture files, read by memray itself: its format changes often (`pip install 'heapwright[memray]'`).

The tracker starts in a running interpreter, so some frees are of blocks from before. A realloc is a free and an
allocation of the same thread, one directly after the other, which become one event. Calls that map memory are left out.
memray keeps no times of single calls. Source: memray 1.17 to 1.20, records.h and hooks.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, Trace, TraceError
from heapwright.traces.importers.log import Log
from heapwright.traces.stacks import NATIVE, PYTHON, Frame, Stacks

MAGIC = b"memray"  # a compressed file is an LZ4 frame, whose first literals are the same
LZ4 = b"\x04\x22\x4d\x18"
START_BYTES = 32
OPERATIONS = {
    "MALLOC": ALLOC,
    "CALLOC": ALLOC_ZEROED,
    "REALLOC": REALLOC,
    "POSIX_MEMALIGN": ALLOC,
    "ALIGNED_ALLOC": ALLOC,
    "MEMALIGN": ALLOC,
    "VALLOC": ALLOC,
    "PVALLOC": ALLOC,
    "FREE": DEALLOC,
    "PYMALLOC_MALLOC": ALLOC,
    "PYMALLOC_CALLOC": ALLOC_ZEROED,
    "PYMALLOC_REALLOC": REALLOC,
    "PYMALLOC_FREE": DEALLOC,
}
ALIGNED = ("POSIX_MEMALIGN", "ALIGNED_ALLOC", "MEMALIGN", "VALLOC", "PVALLOC")
MAPPED = "calls that map memory, left out"
ALIGNMENTS = "alignments, which memray does not keep"


def recognizes(start: bytes) -> bool:
    """Whether a file that begins like this is memray's."""
    return start.startswith(MAGIC) or (start.startswith(LZ4) and MAGIC in start)


def read(path: Path) -> Trace:
    """The trace of a capture file. Raises TraceError if memray is not installed or cannot read the file."""
    try:
        import memray
    except ImportError:
        raise TraceError(
            f"{path}: is a memray file; install memray to read it: pip install 'heapwright[memray]'"
        ) from None
    operations = {int(kind): OPERATIONS.get(kind.name) for kind in memray.AllocatorType}
    aligned = {int(kind) for kind in memray.AllocatorType if kind.name in ALIGNED}
    records = Records(operations, aligned)
    try:
        with memray.FileReader(str(path)) as reader:
            facts = reader.metadata
            records.is_native = facts.has_native_traces
            for record in reader.get_allocation_records():
                records.add(record)
    except NotImplementedError:
        raise TraceError(f"{path}: is an aggregated memray file; record again without --aggregate") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise TraceError(f"{path}: memray cannot read it: {error}") from error
    records.flush()
    process = records.log.process(is_whole=False, pid=facts.pid, command=facts.command_line)
    words = facts.command_line.split()
    date = facts.start_time.isoformat()
    return Trace([process], "memray", " ".join(words[:1]), words, date, stacks=records.stacks)


class Records:
    """The records so far. The last free is held back, because it may be half of a realloc."""

    def __init__(self, operations: dict[int, int | None], aligned: set[int]) -> None:
        self.log, self.stacks = Log(), Stacks()
        self.operations, self.aligned = operations, aligned
        self.is_native = False
        self.sites: dict[tuple[int, ...], int] = {}
        self.held: tuple[int, int] | None = None  # the thread and address of a free

    def add(self, record: Any) -> None:
        op = self.operations.get(record.allocator)
        if op is None:
            note(self.log.notes, MAPPED, 1)
            return
        if record.thread_name:
            self.log.names[record.tid] = record.thread_name
        if op == DEALLOC:
            self.flush()
            self.held = record.tid, record.address
            return
        old = 0
        if op == REALLOC and self.held and self.held[0] == record.tid:
            old = self.held[1]
            self.held = None
        self.flush()
        note(self.log.notes, ALIGNMENTS, record.allocator in self.aligned)
        self.log.add(op, thread=record.tid, address=record.address, old=old, size=record.size, site=self.site(record))

    def flush(self) -> None:
        """Add the free that is held back."""
        if self.held:
            thread, address = self.held
            self.log.free(address, thread=thread)
            self.held = None

    def site(self, record: Any) -> int:
        key = record.stack_id, record.native_stack_id, record.native_segment_generation
        if key not in self.sites:
            self.sites[key] = self.stacks.add(self.frames(record))
        return self.sites[key]

    def frames(self, record: Any) -> Iterator[Frame]:
        """The frames of a record, innermost first, native and Python ones in one stack."""
        python = set(record.stack_trace())
        for frame in record.hybrid_stack_trace() if self.is_native else record.stack_trace():
            function, file, line = frame
            yield Frame(function, file, line, language=PYTHON if frame in python else NATIVE)
