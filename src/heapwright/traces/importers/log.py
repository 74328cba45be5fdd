"""The calls that an importer reads line by line, and the call stacks that it meets, until they become a process."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heapwright.traces.arrays import I64, np
from heapwright.traces.calls import Calls, note, resolve
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Events, Process, TraceError

BACK_IN_TIME = "times before the line above, set to its time"
TOO_LARGE = "sizes above 2^64, kept as the largest size"
MAX_SIZE = (1 << 64) - 1
TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:[.:](\d{1,6}))?")
DAY = 24 * 3600 * 1_000_000
COLUMNS = {"op": "B", "log2_align": "B", "thread": "q", "address": "Q", "old": "Q", "size": "Q"}
COLUMNS |= {"count": "I", "time": "q", "site": "I", "released": "q", "acquired": "q", "inherited": "B"}


@dataclass
class Log:
    """Calls in the order in which they returned. Threads may have any numbers."""

    notes: Counter[str] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)  # of threads
    columns: dict[str, array[int]] = field(
        default_factory=lambda: {name: array(kind) for name, kind in COLUMNS.items()}
    )

    def __len__(self) -> int:
        return len(self.columns["op"])

    def add(self, op: int, *, size: int = 0, count: int = 1, began: int = -1, ended: int = -1, **others: int) -> None:
        """Append a call. `began` and `ended` number the moments of calls that overlap, for example by their lines."""
        place = len(self)
        if not 0 <= size <= MAX_SIZE:
            note(self.notes, TOO_LARGE, 1)
            size, count = MAX_SIZE, 1
        if not 0 <= count < 1 << 32:
            count = 1
        released, acquired = 2 * (place if began < 0 else began), 2 * (place if ended < 0 else ended) + 1
        row = {"op": op, "size": size, "count": count, "released": released, "acquired": acquired, **others}
        for name, column in self.columns.items():
            column.append(row.get(name, 0))

    def allocate(self, address: int, size: int, **others: int) -> None:
        self.add(ALLOC, address=address, size=size, **others)

    def free(self, address: int, **others: int) -> None:
        self.add(DEALLOC, old=address, **others)

    def reallocate(self, old: int, address: int, size: int, **others: int) -> None:
        self.add(REALLOC, old=old, address=address, size=size, **others)

    def calls(self) -> Calls:
        """The calls as columns, with threads numbered from 0 and times that never decrease."""
        columns: dict[str, Any] = {name: np.array(column) for name, column in self.columns.items()}
        _, columns["thread"] = np.unique(columns["thread"], return_inverse=True)
        columns["time"] = self.in_order(columns["time"])
        return Calls.in_order(**columns)

    def in_order(self, time: I64) -> I64:
        latest: I64 = np.maximum.accumulate(time)
        note(self.notes, BACK_IN_TIME, (latest != time).sum())
        return latest

    def process(self, *, is_whole: bool = True, **facts: Any) -> Process:
        """The process that made the calls. `is_whole` says that the log has its calls from the first on."""
        events = resolve(self.calls(), self.notes, is_whole)
        return Process(events, notes=self.notes, threads=self.thread_names(events), **facts)

    def thread_names(self, events: Events) -> list[str]:
        """The names of the events' threads. Every allocation has its event, so these show who is who."""
        raw = np.array(self.columns["thread"])[np.array(self.columns["op"]) < REALLOC]
        number = events.thread[events.op < REALLOC]
        found = {
            int(each): self.names.get(int(raw[place]), "") for each, place in zip(*first_places(number), strict=True)
        }
        return [found.get(each, "") for each in range(max(found, default=-1) + 1)] if self.names else []


def first_places(numbers: Any) -> tuple[Any, Any]:
    """The different numbers, and the place of the first of each."""
    different, places = np.unique(numbers, return_index=True)
    return different, places


class Clock:
    """Times of day, as microseconds since the first one. A clock that goes back far has passed midnight."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last, self.midnights = 0, 0

    def since_first(self, text: str) -> int | None:
        """The time for `HH:MM:SS` or `HH:MM:SS.ffffff`; None for another text."""
        match = TIME_OF_DAY.fullmatch(text)
        if not match:
            return None
        hours, minutes, seconds = (int(part) for part in match.groups()[:3])
        now = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + int((match[4] or "").ljust(6, "0"))
        self.midnights += now + DAY // 2 < self.last
        self.last = now
        self.first = now if self.first is None else self.first
        return now + self.midnights * DAY - self.first


def for_each_line(text: bytes, add: Callable[[int, str], None]) -> None:
    """Call `add` with the number and the content of each line that is not blank, without the blanks around it."""
    for number, line in enumerate(text.decode(errors="replace").split("\n"), 1):
        if content := line.strip():
            try:
                add(number, content)
            except OverflowError:
                raise misunderstood(number, content, "a number in it is too large") from None


def log2_of(align: int) -> int:
    """The log2 of an alignment, rounded up."""
    return max(align - 1, 0).bit_length()


def misunderstood(number: int, line: str, complaint: str) -> TraceError:
    """The error for a line that breaks its format."""
    return TraceError(f"line {number} is not understood: {complaint}: {line[:60]!r}")
