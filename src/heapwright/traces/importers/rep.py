"""The malloc lab's `.rep` traces: one operation per line, in four dialects that share an extension.

    a <id> <bytes>    malloc
    r <id> <bytes>    realloc
    f <id>            free; of -1, free(NULL)

    v1   four lines of header: <suggested heap size> <ids> <operations> <weight>         CS:APP, 2002
    v2   four lines of header: <weight> <ids> <operations> <most live bytes>             CS:APP, 2016
    xv6  two lines of header: <ids> <operations>                                         xv6-malloclab
    mtt  two lines of header: <ids> <operations>, and each operation after its thread    ccase28/418FinalProject

v1 and v2 look alike. A file is v2 if the last number of its header is the peak of live bytes. Many files in use break
the grammar. They are read as the lab's own driver reads them, and the repairs are counted.
"""

from __future__ import annotations

import re
from collections import Counter

from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC, DEALLOC, NONE, REALLOC, Events, Process, Trace, TraceError
from heapwright.traces.importers.text import UNKNOWN_FIELDS

START = re.compile(rb"\s*-?\d+\s*\n\s*-?\d+\s*\n(\s*-?\d+\s*\n\s*-?\d+\s*\n)?\s*(\d+[ \t]+)?[arf][ \t]+-?\d")
MAX_SIZE = (1 << 63) - 1
LEAKED = "ids allocated while live, whose old blocks are kept as leaks"
NOT_LIVE_FREE = "frees of ids that are not live, dropped"
NOT_LIVE_REALLOC = "reallocs of ids that are not live, kept as realloc(NULL)"
TO_ZERO = "reallocs to size 0, kept as frees"
NO_SIZE = "sizes left out, taken from the line before"
COUNT = "operations more or fewer than the header says"
IDS = "ids more or fewer than the header says"


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return START.match(start) is not None


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that breaks the format."""
    lines = [(number, line.split()) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    header = header_of(lines)
    body = lines[len(header) :]
    tagged = bool(body) and body[0][1][0].isdigit()
    operations = Operations(tagged)
    for number, words in body:
        operations.add(number, words)
    events, notes = operations.events(), operations.notes
    ids, count = header[1:3] if len(header) == 4 else header
    note_difference(notes, COUNT, count, len(body))
    note_difference(notes, IDS, ids, len(operations.ids))
    process = Process(events, notes=notes)
    peak = process.summary().peak_live_bytes
    return Trace([process], source=f"malloc-lab .rep, {dialect(header, tagged, peak)}")


def header_of(lines: list[tuple[int, list[bytes]]]) -> list[int]:
    """The numbers in the header, which has one per line. Raises TraceError unless there are two or four."""
    header: list[int] = []
    for _, words in lines[:5]:
        if len(words) != 1 or not words[0].lstrip(b"-").isdigit():
            break
        header.append(int(words[0]))
    if len(header) not in (2, 4):
        raise TraceError(f"a .rep file has a header of two or four numbers, not {len(header)}; is it cut off?")
    return header


def dialect(header: list[int], tagged: bool, peak: int) -> str:
    if len(header) == 2:
        return "mtt" if tagged else "xv6"
    return "v2" if header[3] == peak else "v1"


def note_difference(notes: Counter[str], sentence: str, declared: int, found: int) -> None:
    if declared != found:
        notes[sentence] += abs(declared - found)


class Operations:
    """The events of the operations so far, and the block that each id stands for after them."""

    def __init__(self, tagged: bool):
        self.tagged = tagged
        self.notes: Counter[str] = Counter()
        self.live: dict[int, int] = {}  # the block of each id that has one
        self.ids: set[int] = set()
        self.blocks = 0
        self.size = 0  # of the previous operation
        self.threads: dict[int, int] = {}
        self.rows: list[tuple[int, int, int, int]] = []

    def events(self) -> Events:
        op, thread, block, size = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        return Events.of(op=op, thread=thread, block=block, size=size)

    def add(self, number: int, words: list[bytes]) -> None:
        """Add the operation of one line."""
        try:
            thread = int(words[0]) if self.tagged else 0
            action, name, *more = words[1:] if self.tagged else words
            size, unknown = (more[:1], more[1:]) if action in (b"a", b"r") else ([], more)
            numbers = int(name), *(int(word) for word in size)
            note(self.notes, UNKNOWN_FIELDS, bool(unknown))
        except ValueError:
            raise self.error(number, words) from None
        thread = self.threads.setdefault(thread, len(self.threads))
        if action == b"f":
            self.free(thread, numbers[0])
        elif action in (b"a", b"r") and numbers[0] >= 0:
            self.size = self.size_of(numbers)
            if not 0 <= self.size <= MAX_SIZE:
                raise self.error(number, words)
            (self.allocate if action == b"a" else self.reallocate)(thread, numbers[0])
        else:
            raise self.error(number, words)

    def size_of(self, numbers: tuple[int, ...]) -> int:
        """The size in a line. If it is missing, the previous one, as with C's scanf."""
        if len(numbers) == 2:
            return numbers[1]
        self.notes[NO_SIZE] += 1
        return self.size

    def allocate(self, thread: int, name: int) -> None:
        if name in self.live:
            self.notes[LEAKED] += 1
        self.start(ALLOC, thread, name)

    def reallocate(self, thread: int, name: int) -> None:
        if name not in self.live:
            self.notes[NOT_LIVE_REALLOC] += 1
            self.start(REALLOC, thread, name)
        elif self.size == 0:
            self.notes[TO_ZERO] += 1
            self.free(thread, name)
        else:
            self.rows.append((REALLOC, thread, self.live[name], self.size))

    def free(self, thread: int, name: int) -> None:
        if name == -1:
            self.rows.append((DEALLOC, thread, NONE, 0))
        elif name in self.live:
            self.rows.append((DEALLOC, thread, self.live.pop(name), 0))
        else:
            self.notes[NOT_LIVE_FREE] += 1

    def start(self, op: int, thread: int, name: int) -> None:
        """Let an id stand for a new block."""
        self.ids.add(name)
        self.live[name] = self.blocks
        self.rows.append((op, thread, self.blocks, self.size))
        self.blocks += 1

    def error(self, number: int, words: list[bytes]) -> TraceError:
        line = b" ".join(words)[:60].decode(errors="replace")
        return TraceError(f"line {number} is not understood: {line!r}; expected `a ID SIZE`, `r ID SIZE` or `f ID`")
