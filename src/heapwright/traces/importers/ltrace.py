"""ltrace's output for the functions of malloc: `ltrace -f -ttt -e 'malloc+calloc+realloc+free' -o LOG COMMAND`.

    [<pid>] [<time>] [<ip>] [<caller>->]<function>[@<library>](<arguments>) = <result>
    [<pid>] [<time>] [<ip>] [<caller>->]<function>(<arguments> <unfinished ...>
    [<pid>] [<time>] [<ip>] <... <function> resumed> ) = <result>

A pid is a number, or `[pid <number>]`. Times are those of -ttt, -tt and -t, or of -r. A function that another one calls
while it is under way, as with `-x malloc@libc.so.6`, is part of it. ltrace does not show the address that
posix_memalign returns. All processes of a log are threads of one: use a log for each process (`-o LOG -p PID`).
Source: ltrace 0.7.3 and 0.7.91, output.c.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, Trace
from heapwright.traces.importers.log import Clock, Log, for_each_line, log2_of, misunderstood

PREFIX = r"(?:(?:\[pid )?(?P<pid>\d+)\]? +)?(?:(?P<time>\d+[:.\d]+) +)?(?:\[0x[0-9a-f]+\] +)?"
CALL = re.compile(PREFIX + r"(?:[^ ()]+->)?(?P<name>[A-Za-z_]\w*)(?P<library>@[^ ()]+)?\((?P<arguments>.*)")
RESUMED = re.compile(PREFIX + r"<\.\.\. (?:[^ ()]+->)?(?P<name>[A-Za-z_]\w*)(?:@\S+)? resumed>(?P<arguments>.*)")
EVENT = re.compile(PREFIX + r"(?P<what>\+\+\+|---) .*")
RESULT = re.compile(r"(?P<arguments>.*)\) += (?P<result>\S.*)")
UNFINISHED = re.compile(r"(?P<arguments>.*?),? *<(?:unfinished|no return) \.\.\.>")
NULLS = ("nil", "(nil)", "0", "0x0", "<void>")
HIDDEN = "posix_memalign calls, whose address ltrace does not show, left out"
OTHERS = "lines of other functions and of signals, left out"
NESTED = "calls within a call, left out"
NEVER_RETURNED = "calls that never returned, left out"
ALONE = "returns of calls that are not in the log, left out"
EPOCH_SECONDS = 100_000_000  # smaller numbers of seconds are those since the line before
WORD = 1 << 64


class Function(NamedTuple):
    """What a function's arguments are: the place of each, or -1."""

    op: int
    size: int = -1
    times: int = -1
    old: int = -1
    align: int = -1


FUNCTIONS = {
    "malloc": Function(ALLOC, size=0),
    "valloc": Function(ALLOC, size=0),
    "pvalloc": Function(ALLOC, size=0),
    "calloc": Function(ALLOC_ZEROED, times=0, size=1),
    "memalign": Function(ALLOC, align=0, size=1),
    "aligned_alloc": Function(ALLOC, align=0, size=1),
    "realloc": Function(REALLOC, old=0, size=1),
    "reallocarray": Function(REALLOC, old=0, times=1, size=2),
    "free": Function(DEALLOC, old=0),
}


class Started(NamedTuple):
    """A call that has not returned: its line and arguments."""

    name: str
    line: int
    arguments: str


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format: it has a whole call of one of the functions."""
    return any(map(is_known_call, start.decode(errors="replace").split("\n")))


def is_known_call(line: str) -> bool:
    match = CALL.fullmatch(line.strip())
    if not match or match["name"] not in FUNCTIONS:
        return False
    return any(kind.fullmatch(match["arguments"]) for kind in (RESULT, UNFINISHED))


def read(text: bytes) -> Trace:
    """The trace of a log. Raises TraceError with the number of the first line that breaks the format."""
    lines = Lines()
    for_each_line(text, lines.add)
    note(lines.log.notes, NEVER_RETURNED, sum(map(len, lines.under_way.values())))
    return Trace([lines.log.process(is_whole=not lines.sees_library)], source="ltrace log")


class Lines:
    """The calls that have returned, and for each thread those under way, the outermost first."""

    def __init__(self) -> None:
        self.log, self.clock = Log(), Clock()
        self.under_way: dict[int, list[Started]] = {}
        self.first: int | None = None
        self.sees_library = False  # and so the frees of glibc itself, such as those of a thread's cache when it ends
        self.now = 0  # microseconds since the first line

    def add(self, number: int, line: str) -> None:
        if match := RESUMED.fullmatch(line):
            self.returned(number, line, match)
        elif match := CALL.fullmatch(line):
            self.called(number, line, match)
        elif EVENT.fullmatch(line):
            note(self.log.notes, OTHERS, "---" in line)
        else:
            raise misunderstood(number, line, "it is no call, no return and no event of ltrace")

    def called(self, number: int, line: str, match: re.Match[str]) -> None:
        name, thread = match["name"], int(match["pid"] or 0)
        self.advance(match["time"])
        self.sees_library |= match["library"] is not None
        whole, part = RESULT.fullmatch(match["arguments"]), UNFINISHED.fullmatch(match["arguments"])
        if not (whole or part):
            raise misunderstood(number, line, "it has no result")
        if name not in FUNCTIONS:
            note(self.log.notes, HIDDEN if name == "posix_memalign" else OTHERS, 1)
        elif whole:
            started = Started(name, number, whole["arguments"])
            self.complete(number, line, thread, started, whole["result"])
        elif part:
            self.under_way.setdefault(thread, []).append(Started(name, number, part["arguments"]))

    def returned(self, number: int, line: str, match: re.Match[str]) -> None:
        name, thread = match["name"], int(match["pid"] or 0)
        self.advance(match["time"])
        whole = RESULT.fullmatch(match["arguments"])
        if not whole:
            raise misunderstood(number, line, "it has no result")
        if name not in FUNCTIONS:
            return
        calls = self.under_way.get(thread, [])
        if not calls or calls[-1].name != name:
            note(self.log.notes, ALONE, 1)
            return
        self.complete(number, line, thread, calls.pop(), whole["result"])

    def complete(self, number: int, line: str, thread: int, call: Started, result: str) -> None:
        """Add a call that has returned, unless it is part of another."""
        if self.under_way.get(thread):
            note(self.log.notes, NESTED, 1)
            return
        function = FUNCTIONS[call.name]
        try:
            arguments = [number_of(word) for word in call.arguments.split(",")]
            value = {
                name: arguments[place] for name, place in function._asdict().items() if name != "op" and place >= 0
            }
            address = 0 if function.op == DEALLOC else number_of(result)
        except (IndexError, ValueError):
            raise misunderstood(number, line, "an argument or the result is no number") from None
        times = value.get("times", 1)
        self.log.add(
            function.op,
            thread=thread,
            address=address,
            old=value.get("old", 0),
            size=value.get("size", 0) * times,
            count=times if function.op == ALLOC_ZEROED else 1,
            log2_align=log2_of(value.get("align", 0)),
            time=self.now,
            began=call.line,
            ended=number,
        )

    def advance(self, text: str | None) -> None:
        """Set the clock to the time of a line."""
        if not text:
            return
        of_day = self.clock.since_first(text)
        if of_day is not None:
            self.now = of_day
            return
        microseconds = round(float(text) * 1_000_000)
        if microseconds < EPOCH_SECONDS * 1_000_000:
            self.now += microseconds
            return
        self.first = microseconds if self.first is None else self.first
        self.now = microseconds - self.first


def number_of(word: str) -> int:
    """The value of an argument or a result."""
    text = word.strip()
    return 0 if text in NULLS else int(text, 0) % WORD
