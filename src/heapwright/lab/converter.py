"""The conversion of a ring's records to events, compiled: `heapwright.traces.conversion` on the ring of a run."""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from heapwright.errors import UserError
from heapwright.lab.phases import Clock
from heapwright.memory import AddressMemory, Memory
from heapwright.native.library import functions_library, opened
from heapwright.traces import columns, raw
from heapwright.traces.arrays import np
from heapwright.traces.calls import (
    DOUBLE_FREE,
    FREED_REALLOC,
    MISSING_FREE,
    REALLOC_TO_ZERO,
    UNMATCHED_FAILURE,
    UNMATCHED_FREE,
    UNMATCHED_REALLOC,
    note,
)
from heapwright.traces.conversion import passes
from heapwright.traces.conversion.state import MAX_CHUNKS, ProcessState, State, ThreadState
from heapwright.traces.events import Summary
from heapwright.traces.format import Writer
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from heapwright.lab.sites import Sites

DAMAGED = "damaged records, dropped"
UNFINISHED_REALLOC = "reallocs that never returned, dropped"
BORN_BEFORE = "frees of blocks from when nothing was recorded, left out"
MOVED_BEFORE = "reallocs of blocks from when nothing was recorded, kept as new blocks"
FORGOTTEN = "blocks whose end is not known: they were live when recording stopped, and end where it started again"
CROWDED = "requests of the sample, dropped: too many of its blocks are live; record with a larger --sample"
STRAY = "chunks of records of no known process, dropped"
COUNTS = {
    "damaged": DAMAGED,
    "unfinished": UNFINISHED_REALLOC,
    "unmatched_frees": UNMATCHED_FREE,
    "unmatched_reallocs": UNMATCHED_REALLOC,
    "unmatched_failures": UNMATCHED_FAILURE,
    "missing_frees": MISSING_FREE,
    "reallocs_to_zero": REALLOC_TO_ZERO,
    "forgotten": FORGOTTEN,
    "crowded": CROWDED,
}
IN_PARTS = COUNTS | {"unmatched_frees": BORN_BEFORE, "unmatched_reallocs": MOVED_BEFORE}
UNKNOWN_IN_PARTS = ("unfinished", "unmatched_failures")  # calls that began or ended in a pause, with no loss
MEMORY = cast(Memory, AddressMemory())  # loads and stores suffice
LARGEST = raw.HEADER_BYTES + MAX_CHUNKS * raw.CHUNK_BYTES
C_LIBRARY = ctypes.CDLL(None, use_errno=True)
C_LIBRARY.mmap.restype = ctypes.c_void_p
C_LIBRARY.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
NO_RESERVE = 0x4000
LEVEL = 1  # of compression: with 3, the trace is 4 % smaller, and its compression takes half as long again
# The columns of a chunk, and the counters of `Lengths` that say how long they are, and whether they are needed.
COLUMNS = {"kind": "events", "thread": "events", "align": "aligns", "size": "sizes", "since": "sinces"}
OPTIONAL = {columns.COUNT: ("count", "counts", "odd_counts"), columns.TIME: ("time", "events", "time")}
FAILED = ctypes.c_void_p(-1).value


def map_largest(file: int) -> tuple[int, int]:
    """Map a file that may grow. Returns the address, and the number of chunks for which there is address space."""
    size = LARGEST
    while size > raw.HEADER_BYTES + raw.CHUNK_BYTES:
        place = C_LIBRARY.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | NO_RESERVE, file, 0)
        if place != FAILED:
            return int(place), (size - raw.HEADER_BYTES) // raw.CHUNK_BYTES
        size //= 2
    raise UserError("there is no address space for a recording; raise ulimit -v")


class Converter:
    """The conversion of one ring, which another process or thread may be filling."""

    def __init__(self, file: int, clock: Clock):
        library = opened(functions_library(passes))
        self.calls = {name: self._function(library, name, *facts) for name, facts in passes.COMPILED.items()}
        self.clock = clock
        self._compress = columns.compressor(LEVEL)
        self._words = mmap.mmap(-1, State.SIZE)
        self.state: Any = cast(Any, State(MEMORY, ctypes.addressof(ctypes.c_char.from_buffer(self._words))))
        self._map, self.most = map_largest(file)
        self.state.header, self.state.began = self._map, clock.began
        self.state.advise = ctypes.cast(C_LIBRARY.madvise, ctypes.c_void_p).value
        self.header: Any = raw.Header(MEMORY, self._map)

    @staticmethod
    def _function(library: ctypes.CDLL, name: str, kinds: tuple[Any, ...], answers: bool) -> Callable[..., Any]:
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_long] * len(kinds), ctypes.c_long if answers else None
        return cast(Callable[..., Any], function)

    def convert(self) -> Iterator[ProcessState]:
        """Convert the records that are there. Yields processes whose columns are full and must be taken."""
        self.calls["look"](self.state.address, *self.clock.now(self.header))
        address = self.calls["advance"](self.state.address, 0)
        while address:
            process: Any = ProcessState(MEMORY, address)
            if not process.filled.events and not process.explained:
                raise MemoryError
            yield process
            address = self.calls["advance"](self.state.address, address)

    def hand_over(self, process: Any, writer: Writer, sites: Sites) -> None:
        """Add a process's columns to a trace, and what explains its call stacks to `sites`. Begin new columns."""
        if process.explained:
            sites.explain(process.number, explanations_of(process))
        if process.filled.events:
            content = self._columns(process) + self._sites(process, sites)
            started = process.first_block, process.live_bytes, process.live_blocks
            writer.add_encoded(process.number, process.filled.events, content, *started)
        self.calls["finish_columns"](process.address)

    def _columns(self, process: Any) -> bytes:
        """The columns of a process's events, without the call stacks."""
        found = [self._column(process, name, length) for name, length in COLUMNS.items()]
        for letter, (name, length, reason) in OPTIONAL.items():
            if getattr(process.filled, reason):
                found += bytes([letter]), self._column(process, name, length)
        return b"".join(found)

    def _column(self, process: Any, name: str, length: str) -> bytes:
        """One column of a process, whose length is in the field of its `filled` that is given."""
        column, count = getattr(process.columns, name), getattr(process.filled, length)
        width, place = column.kind.element.size, column.address
        if width > 1:
            width, place = self.calls["sort"](self.state.address, place, width, count), self.state.planes.address
        return columns.packed_column(width, count, self._compress(bytes_at(place, width * count)))

    @staticmethod
    def _sites(process: Any, sites: Sites) -> bytes:
        """The column of the call stacks, after its letter; empty if no event has one."""
        if not process.filled.sites:
            return b""
        numbers = np.frombuffer(bytes_at(process.columns.site.address, 4 * process.filled.events), "<u4")
        found = sites.of(process.number, numbers)
        return bytes([columns.SITE]) + columns.encode_column(found, LEVEL)

    def release(self) -> int:
        """Free the chunks that are done. Returns their number."""
        freed: int = self.calls["release"](self.state.address)
        return freed

    def enlarge(self, room: int) -> None:
        """Use more chunks: the file now has room for `room`."""
        self.calls["enlarge"](self.state.address, room)

    def issue(self, ahead: int) -> None:
        """Offer chunks for the next `ahead` tickets."""
        self.calls["issue"](self.state.address, ahead)

    def end(self, process: Any) -> None:
        """Forget the blocks of a process that has ended."""
        self.calls["end_process"](self.state.address, process.address)

    def strays(self) -> int:
        """The number of chunks with records of no known process."""
        count: int = self.calls["count_strays"](self.state.address)
        return count

    def waiting(self) -> int:
        """The most events that are not handed over yet."""
        count: int = self.calls["count_waiting"](self.state.address)
        return count

    def pending(self) -> int:
        """The events that are converted and not handed over yet."""
        count: int = self.calls["count_pending"](self.state.address)
        return count

    def processes(self) -> Iterator[Any]:
        """The processes that have not been forgotten, in the order of their starts."""
        process: Any = self.state.process
        while process:
            yield process
            process = process.next

    def close(self) -> None:
        C_LIBRARY.munmap(ctypes.c_void_p(self._map), ctypes.c_size_t(raw.HEADER_BYTES + self.most * raw.CHUNK_BYTES))


# --- a process


def explanations_of(process: Any) -> Any:
    """The records that explain a process's call stacks."""
    kind = dtype_of(raw.Record)
    return np.frombuffer(bytes_at(process.explanations.address, process.explained * kind.itemsize), kind)


def bytes_at(address: int, size: int) -> Any:
    """The bytes at an address, in place."""
    return (ctypes.c_char * size).from_address(address)


def summary_of(process: Any) -> Summary:
    """The figures of a process so far."""
    return Summary(**{each.name: getattr(process.totals, each.name) for each in fields(Summary)})


def threads_of(process: Any) -> Iterator[Any]:
    """The threads of a process, the last one first."""
    thread: ThreadState = process.thread
    while thread:
        yield thread
        thread = thread.next


def command_of(process: Any) -> str:
    """The command line of a process; empty if it was forked from a recorded one."""
    data = ctypes.string_at(process.facts.command.address, len(process.facts.command))
    return " ".join(word.decode(errors="replace") for word in data.rstrip(b"\0").split(b"\0"))


def notes_of(process: Any, is_whole: bool, in_parts: bool = False) -> Counter[str]:
    """What the conversion repaired and dropped. If calls are missing, a second free may be a first one.

    Set `in_parts` if there may be pauses: then it is no damage that blocks are unknown.
    """
    notes: Counter[str] = Counter()
    for name, sentence in (IN_PARTS if in_parts else COUNTS).items():
        if not in_parts or name not in UNKNOWN_IN_PARTS:
            note(notes, sentence, getattr(process.repairs, name))
    for found, sentence, verb, otherwise in (
        (process.repairs.double_frees, DOUBLE_FREE, "again", UNMATCHED_FREE),
        (process.repairs.freed_reallocs, FREED_REALLOC, "reallocated", UNMATCHED_REALLOC),
    ):
        if found.count and is_whole:
            note(notes, sentence + again(found, verb), found.count)
        else:
            note(notes, otherwise, found.count)
    return notes


def again(found: Any, verb: str) -> str:
    """Where a block was released, and where again: the end of a note's sentence."""
    which = ":" if found.count == 1 else "; the first:"
    first, second = place(found.freed_event, found.freed_thread), place(found.event, found.thread, verb == "again")
    return f"{which} block {found.key:#x}, freed {first} and {verb} {second}"


def place(event: int, thread: int, is_after: bool = False) -> str:
    """`at event 3 by thread 0`, counted from 1; `after` for what became no event."""
    who = f"thread {thread - 1}" if thread else "a thread without events"
    after = is_after or event < 0
    return f"{'after' if after else 'at'} event {~event if event < 0 else event:,} by {who}"
