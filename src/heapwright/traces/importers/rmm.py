"""The CSV log of RAPIDS RMM, which its logging resource adaptor writes.

    Thread,Time,Action,Pointer,Size,Stream
    <id>,<HH:MM:SS.ffffff>,allocate,<address>,<size>,<stream>
    <id>,<time>,allocate failure,<(nil) or empty>,<size>,<stream>
    <id>,<time>,free,<address>,<size>,<stream>

Older logs write the time as `HH:MM:SS:ffffff`. Times count from the first row; a log that passes midnight goes on.
The stream is not kept. Source: rapidsai/rmm, cpp/src/mr/logging_resource_adaptor.cpp and log_parser.hpp, 0.14 to 26.
"""

from __future__ import annotations

import re

from heapwright.traces.calls import note
from heapwright.traces.events import Trace
from heapwright.traces.importers.log import Clock, Log, for_each_line, misunderstood

HEADER = b"Thread,Time,Action,Pointer,Size,Stream"
ADDRESS = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})")
NULLS = ("(nil)", "", "0", "0x0")
ACTIONS = ("allocate", "allocate failure", "free")
STREAMS = "rows on a stream of their own, whose stream is not kept"
DEFAULT_STREAMS = ("", "0", "0x0", "(nil)", "0x1", "0x2")
FIELDS = 6
MAX_THREAD = (1 << 63) - 1


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return start.lstrip().startswith(HEADER)


def read(text: bytes) -> Trace:
    """The trace of a log. Raises TraceError with the number of the first line that breaks the format."""
    rows = Rows()
    for_each_line(text, rows.add)
    return Trace([rows.log.process()], source="RMM log")


class Rows:
    """The rows so far."""

    def __init__(self) -> None:
        self.log, self.clock = Log(), Clock()

    def add(self, number: int, line: str) -> None:
        if line == HEADER.decode():
            return
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != FIELDS:
            raise misunderstood(number, line, f"it has {len(fields)} fields, not {FIELDS}")
        thread, time, action, pointer, size, stream = fields
        if not (thread.isdecimal() and size.isdecimal()):
            raise misunderstood(number, line, "its thread or its size is no number")
        when = self.clock.since_first(time)
        if when is None:
            raise misunderstood(number, line, "its time is not HH:MM:SS.ffffff")
        common = {"thread": int(thread) & MAX_THREAD, "time": when}
        match action:
            case "allocate" | "allocate failure":
                failed = action == "allocate failure"
                address = 0 if failed else self.address(number, line, pointer)
                self.log.allocate(address, int(size), **common)
            case "free":
                self.log.free(self.address(number, line, pointer), **common)
            case _:
                raise misunderstood(number, line, f"its action is none of {', '.join(ACTIONS)}")
        note(self.log.notes, STREAMS, stream not in DEFAULT_STREAMS)

    def address(self, number: int, line: str, pointer: str) -> int:
        if pointer in NULLS:
            return 0
        match = ADDRESS.fullmatch(pointer)
        if not match:
            raise misunderstood(number, line, "its pointer is no address")
        return int(match[1], 16)
