"""One step of an allocator as lines of text: what was asked, which words it read, and which it changed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from rich.text import Text

from heapwright.collections import Operation
from heapwright.machine.source import Place
from heapwright.programs import run
from heapwright.programs.watch import Eye, Step, Word

RUNNER = inspect.getfile(run)
MOST_WORDS = 16  # that are told, of each sort


def draw_step(title: str, step: Step, eye: Eye, width: int = 100) -> list[Text]:
    """The heading of an operation and what the allocator did for it."""
    lines = [heading(title, step)]
    read = [word for word in step.words.values() if not word.stores]
    lines += [Text(line, "dim") for line in folded("read", [value_read(word, eye) for word in read], width)]
    lines += [Text(f"  {line}", "yellow") for line in limited(changes(step.words.values(), eye), "words changed")]
    return lines + [Text(f"  {line}", "cyan") for line in limited(step.others, "calls")]


def heading(title: str, step: Step) -> Text:
    text = Text.assemble((f"{title} ", "dim"), (asked(step.operation), "bold"))
    if step.place and step.operation.owner:
        text.append(f"   {step.operation.owner}, {where(step.place)}", "dim")
    return text


def where(place: Place) -> str:
    """A line of the program; what is dropped when `main` is over is dropped by the one who called it."""
    return "at the end of main" if place.file == RUNNER else str(place)


def asked(operation: Operation) -> str:
    """Such as `alloc(16, align 4) -> 0x13ff0`."""
    name, given = operation.name, operation.arguments
    if name == "dealloc":
        return f"dealloc({given[0]:#x}, {given[1]:,}, align {given[2]})"
    if name == "realloc":
        call = f"realloc({given[0]:#x}, {given[1]:,}, align {given[2]}, {given[3]:,})"
    else:
        call = f"{name}({given[0]:,}, align {given[1]})"
    return f"{call} -> {operation.result:#x}" if operation.result else f"{call} -> 0: no memory"


def value_read(word: Word, eye: Eye) -> str:
    value = eye.values.get(word.address)
    return f"{word.name} = {shown(value, word, eye)}" if value is not None else word.name


def changes(words: Iterable[Word], eye: Eye) -> list[str]:
    """A line for each word that was stored to, from what it was to what it is now."""
    lines = []
    for word in words:
        if word.stores and word.before is None:
            lines.append(f"{word.name}: {shown(word.after, word, eye)}")
        elif word.stores and word.before != word.after:
            lines.append(f"{word.name}: {shown(word.before, word, eye)} -> {shown(word.after, word, eye)}")
    return lines


def shown(value: int | None, word: Word, eye: Eye) -> str:
    if value is None:
        return "?"
    if word.is_pointer:
        return eye.place_name(value)
    return f"{value:#x}" if value in eye.structs or abs(value) >= 1 << 32 else f"{value:,}"


def limited(lines: list[str], what: str) -> list[str]:
    more = len(lines) - MOST_WORDS
    return lines if more <= 0 else [*lines[:MOST_WORDS], f"and {more} more {what}"]


def folded(title: str, parts: list[str], width: int) -> list[str]:
    """Parts in a row, with commas, on as many lines as they need."""
    lines, line = [], f"  {title} "
    for index, part in enumerate(limited(parts, f"words {title}")):
        if index and len(line) + len(part) + 2 > width:
            lines.append(f"{line},")
            line = " " * (len(title) + 3) + part
        else:
            line += f", {part}" if index else part
    return [*lines, line] if parts else []
