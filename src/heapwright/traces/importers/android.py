"""Android's memory_replay text, which bionic's malloc_debug records; plain, or alone in a zip.

    <tid>: malloc   <address> <size>
    <tid>: calloc   <address> <count> <size>
    <tid>: memalign <address> <alignment> <size>
    <tid>: realloc  <address> <old address> <size>
    <tid>: free     <address>
    <tid>: thread_done 0x0

each with or without `<start ns> <end ns>` at its end, which are not kept. Source: Android Open Source Project,
system/extras/memory_replay.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from heapwright.traces.arrays import I64, U64, Mask, np
from heapwright.traces.calls import Calls, note, resolve
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, THREAD_EXIT, Process, Trace, TraceError
from heapwright.traces.importers.text import Tokens, blocks, key

FIRST_LINE = re.compile(rb"\s*\d+:\s*(malloc|calloc|memalign|realloc|free|thread_done)\s+(0x)?[0-9a-f]+\b")
TIMES = "lines with times, which are not kept"
BAD_ALIGNMENT = "alignments that are no power of two, rounded up"
OVERFLOW = "callocs whose count times size overflows, kept as the largest size"


@dataclass(frozen=True)
class Word:
    """One word of the language: which event it is, and which of the numbers after it mean what (-1 for none)."""

    op: int
    numbers: int
    address: int = -1
    old: int = -1
    size: int = -1


SOURCE = "Android memory_replay text"
PROPERTIES = "op", "log2_align", "thread", "address", "old", "size"
MOST = (1 << 64) - 1
WORDS = {
    "malloc": Word(ALLOC, 2, address=0, size=1),
    "calloc": Word(ALLOC_ZEROED, 3, address=0, size=2),
    "memalign": Word(ALLOC, 3, address=0, size=2),
    "realloc": Word(REALLOC, 3, address=0, old=1, size=2),
    "free": Word(DEALLOC, 1, old=0),
    "thread_done": Word(THREAD_EXIT, 1),
}


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is of this kind."""
    return FIRST_LINE.match(start) is not None


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that is not of the language."""
    notes: Counter[str] = Counter()
    parts, lines = [], 0
    for block in blocks(text):
        parts.append(Block(block, lines, notes).calls())
        lines += block.count(b"\n")
    if not parts:
        raise TraceError("the text is empty; record again")
    calls = Calls.in_order(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return Trace([Process(resolve(calls, notes), notes=notes)], source=SOURCE)


class Block:
    """Some whole lines of the text, after `lines_before` others."""

    def __init__(self, text: bytes, lines_before: int, notes: Counter[str]):
        self.text, self.lines_before, self.notes = text, lines_before, notes
        self.tokens = Tokens.of(text)

    def calls(self) -> dict[str, Any]:
        """The calls of all lines, by their properties."""
        tokens = self.tokens
        self.require(tokens.count >= 3, "it is too short")
        thread, good = tokens.number(tokens.first)
        self.require(good & (thread < 1 << 32), "it does not begin with a thread's number")
        calls = {name: np.zeros(len(thread), np.uint64) for name in PROPERTIES} | {"thread": thread}
        word, length = tokens.word(tokens.first + 1), tokens.length(tokens.first + 1)
        for name, meaning in WORDS.items():
            self.fill(calls, np.flatnonzero((word == key(name)) & (length == len(name))), meaning)
        self.require(calls["op"] > 0, "it names no call that is known")
        return calls

    def fill(self, calls: dict[str, Any], lines: I64, meaning: Word) -> None:
        """Enter the calls of the lines that have one word."""
        count = self.tokens.count[lines] - 2 - meaning.numbers
        self.require((count == 0) | (count == 2), "it has too few or too many numbers", lines)
        note(self.notes, TIMES, (count == 2).sum())
        numbers = [self.number(lines, place) for place in range(meaning.numbers)]
        calls["op"][lines] = meaning.op
        for name in "address", "old", "size":
            if (place := getattr(meaning, name)) >= 0:
                calls[name][lines] = numbers[place]
        if meaning.op == ALLOC_ZEROED:
            calls["size"][lines] = self.product(numbers[1], numbers[2])
        elif meaning.op == ALLOC and meaning.numbers == 3:
            calls["log2_align"][lines] = self.log2(numbers[1])

    def number(self, lines: I64, place: int) -> U64:
        value, good = self.tokens.number(self.tokens.first[lines] + 2 + place)
        self.require(good, "a number in it is none", lines)
        return value

    def product(self, count: U64, size: U64) -> U64:
        """Count times size, and the largest number where that is too large."""
        overflows = (count > 0) & (size > MOST // np.maximum(count, 1))
        note(self.notes, OVERFLOW, overflows.sum())
        return np.where(overflows, np.uint64(MOST), count * size)

    def log2(self, align: U64) -> U64:
        note(self.notes, BAD_ALIGNMENT, (align & (align - np.uint64(1)) != 0).sum())
        log2: U64 = np.ceil(np.log2(np.maximum(align, 1).astype(float))).astype(np.uint64)
        return log2

    def require(self, good: Mask, complaint: str, lines: I64 | None = None) -> None:
        """Refuse the first line that is not good; `lines` says which ones `good` speaks about."""
        if good.all():
            return
        which = int(np.argmin(good))
        start = int(self.tokens.start[self.tokens.first[which if lines is None else lines[which]]])
        number = self.lines_before + self.text.count(b"\n", 0, start) + 1
        shown = self.text[start : start + 60].split(b"\n")[0].decode(errors="replace").strip()
        raise TraceError(f"line {number} is not understood: {complaint}: {shown!r}")
