"""heaptrack's data files: what its recorder writes (`heaptrack --raw`), and what it makes of that (`heaptrack`).

Each line is a letter and hexadecimal numbers; `<text>` is a length and so many bytes, or up to version 2 the bytes
alone.

    v <version> <format>            I <page size> <pages>           X <command>           c <milliseconds>
    t <ip> <caller>                 a call stack: an address, or an `i`, called from a `t`; numbered from 1, 0 is none

    raw          m <text> <base> {<offset> <size>}*     a mapped file, "x" for the program; `m -` forgets all
                 x <text>                               the program
                 + <size> <t> <address>    - <address>
    interpreted  s <text>                               a string, numbered from 1
                 i <ip> <module> {<function> <file> <line>}*   a frame; inlined functions first; names are strings
                 a <size> <t>                           a kind of block, numbered from 0
                 + <a>    - <a>

A realloc is a free and an allocation. There are no threads and no alignments, and times are exact to 10 ms. An
interpreted file says of a free only the size and call stack of its block. Of several like blocks the latest is taken
to be the freed one.
Source: KDE/heaptrack 1.1 to 1.5, src/track/libheaptrack.cpp and src/interpret/heaptrack_interpret.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from heapwright.traces.calls import note
from heapwright.traces.events import Trace
from heapwright.traces.importers.log import Log, for_each_line, misunderstood
from heapwright.traces.importers.modules import Mapping, Modules
from heapwright.traces.stacks import UNKNOWN, Frame, Stacks

FIRST_LINE = re.compile(rb"v [0-9a-f]+ [0-9a-f]+\r?\n")
NEWEST, SIZED_STRINGS = 3, 3
IGNORED = "IRS#"  # page size, resident pages, suppressions, comments
AMBIGUOUS = "frees of one of several like blocks, taken to be the latest"
NEVER_ALLOCATED = "frees of blocks never seen, dropped"
EXECUTABLE = "x"


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return FIRST_LINE.match(start) is not None


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that breaks the format."""
    reader = Reader()
    for_each_line(text, reader.add)
    kind = "interpreted" if reader.kinds else "raw"
    process = reader.log.process(is_whole=not reader.is_attached, command=reader.command)
    words = reader.command.split()
    return Trace([process], f"heaptrack, {kind}", " ".join(words[:1]), words, stacks=reader.stacks)


class Reader:
    """What the lines so far say. Lists that lines number from 1 begin with an element for 0."""

    def __init__(self) -> None:
        self.log, self.stacks = Log(), Stacks()
        self.format = NEWEST
        self.command, self.executable = "", ""
        self.is_attached = False
        self.time = 0
        self.modules = Modules()
        self.traces = [UNKNOWN]  # the site of each `t`
        self.strings = [""]
        self.frames: list[list[Frame]] = [[]]  # of each `i`
        self.kinds: list[tuple[int, int]] = []  # the size and site of each `a`
        self.live: list[list[int]] = []  # the made-up addresses of the live blocks of each `a`
        self.blocks = 0
        self.actions: dict[str, Callable[[str], None]] = {
            "v": self.version,
            "X": self.started,
            "x": self.program,
            "A": self.attached,
            "c": self.clock,
            "m": self.module,
            "t": self.stack,
            "s": self.string,
            "i": self.frame,
            "a": self.kind,
            "+": self.allocation,
            "-": self.release,
        }

    def add(self, number: int, line: str) -> None:
        if line[0] in IGNORED:
            return
        if line[0] not in self.actions:
            raise misunderstood(number, line, "it begins with no letter of the format")
        try:
            self.actions[line[0]](line[2:])
        except (IndexError, ValueError) as error:
            raise misunderstood(number, line, str(error) or "it has too few numbers") from None

    def version(self, rest: str) -> None:
        self.format = numbers(rest)[1]
        if self.format > NEWEST:
            raise ValueError(f"it is of format {self.format}, and this reads up to {NEWEST}; update heapwright")

    def started(self, rest: str) -> None:
        self.command = rest

    def program(self, rest: str) -> None:
        self.executable, _ = self.text(rest)

    def attached(self, rest: str) -> None:
        self.is_attached = True

    def clock(self, rest: str) -> None:
        self.time = 1000 * int(rest, 16)

    def module(self, rest: str) -> None:
        path, places = self.text(rest)
        if path == "-":
            self.modules = Modules()
            return
        base, *extents = numbers(places)
        name = self.executable if path == EXECUTABLE else path
        for offset, size in zip(extents[::2], extents[1::2], strict=True):
            self.modules.mappings.append(Mapping(base + offset, base + offset + size, base, name))
        self.modules = Modules(self.modules.mappings)

    def stack(self, rest: str) -> None:
        ip, parent = numbers(rest)
        is_raw = len(self.frames) == 1
        frames = [self.modules.frame(ip)] if is_raw else self.frames[check_number(ip, self.frames)]
        site = self.traces[check_number(parent, self.traces)]
        for frame in reversed(frames):
            site = self.stacks.under(site, frame)
        self.traces.append(site)

    def string(self, rest: str) -> None:
        self.strings.append(self.text(rest)[0])

    def frame(self, rest: str) -> None:
        ip, module, *places = numbers(rest)
        path = self.strings[check_number(module, self.strings)]
        if len(places) == 1:
            places += [0, 0]  # a function without a file
        rows = list(zip(places[::3], places[1::3], places[2::3], strict=True))
        module_name = path.rsplit("/", 1)[-1]
        unnamed = f"{module_name}:{ip:#x}" if module_name else f"{ip:#x}"
        frames = [
            Frame(self.strings[function] or unnamed, self.strings[file], line, path, is_inlined=place < len(rows) - 1)
            for place, (function, file, line) in enumerate(rows)
        ]
        self.frames.append(frames or [Frame(unnamed, module=path)])

    def kind(self, rest: str) -> None:
        size, trace = numbers(rest)
        self.kinds.append((size, self.traces[check_number(trace, self.traces)]))
        self.live.append([])

    def allocation(self, rest: str) -> None:
        if self.kinds:
            kind = check_number(int(rest, 16), self.kinds)
            size, site = self.kinds[kind]
            self.blocks += 1
            self.live[kind].append(self.blocks)
            self.log.allocate(self.blocks, size, time=self.time, site=site)
        else:
            size, trace, address = numbers(rest)
            site = self.traces[check_number(trace, self.traces)]
            self.log.allocate(address, size, time=self.time, site=site)

    def release(self, rest: str) -> None:
        if not self.kinds:
            self.log.free(int(rest, 16), time=self.time)
            return
        live = self.live[check_number(int(rest, 16), self.kinds)]
        note(self.log.notes, AMBIGUOUS, len(live) > 1)
        note(self.log.notes, NEVER_ALLOCATED, not live)
        if live:
            self.log.free(live.pop(), time=self.time)

    def text(self, rest: str) -> tuple[str, str]:
        """The text that a line's rest begins with, and what follows it."""
        if self.format < SIZED_STRINGS:
            path, _, more = rest.partition(" ")
            return (path, more) if re.fullmatch(r"[0-9a-f ]+", more) else (rest, "")
        length, _, more = rest.partition(" ")
        size = int(length, 16)
        content = more.encode()
        if len(content) < size:
            raise ValueError("its text is shorter than it says")
        return content[:size].decode(errors="replace"), content[size:].decode(errors="replace").strip()


def numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def check_number(
    number: int, things: list[object] | list[int] | list[str] | list[tuple[int, int]] | list[list[Frame]]
) -> int:
    """The number of one of some things. Raises IndexError if there is none."""
    if number >= len(things):
        raise IndexError(f"it refers to number {number}, but there are only {len(things)}")
    return number
