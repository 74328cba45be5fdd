"""One step of an allocator as lines of text: the operation, the words that it read, and the words that it changed."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from heapwright.collections import Operation
from heapwright.machine.source import Place
from heapwright.programs.naming import WordNames
from heapwright.programs.watch import Observer, OperationStep, Word

MAX_WORDS = 16  # words shown, of each sort


def draw_step(title: str, step: OperationStep, observer: Observer, width: int = 100) -> list[Text]:
    """The heading of an operation and what the allocator did for it."""
    lines = [heading(title, step)]
    read = [word for word in step.words.values() if not word.stores]
    lines += [Text(line, "dim") for line in folded("read", [value_read(word, observer) for word in read], width)]
    lines += [Text(f"  {line}", "yellow") for line in limited(changes(step.words.values(), observer), "words changed")]
    return lines + [Text(f"  {line}", "cyan") for line in limited(step.others, "calls")]


def heading(title: str, step: OperationStep) -> Text:
    text = Text.assemble((f"{title} ", "dim"), (asked(step.operation), "bold"))
    if step.operation.owner:
        text.append(f"   {step.operation.owner}, {where(step.place)}", "dim")
    return text


def where(place: Place | None) -> str:
    """A line of the program; values that Python drops after `main` has returned have none."""
    return str(place) if place else "at the end of main"


def asked(operation: Operation) -> str:
    """The operation as text, such as `alloc(16, align 4) -> 0x13ff0`."""
    name, given = operation.name, operation.arguments
    if name == "dealloc":
        return f"dealloc({given[0]:#x}, {given[1]:,}, align {given[2]})"
    if name == "realloc":
        call = f"realloc({given[0]:#x}, {given[1]:,}, align {given[2]}, {given[3]:,})"
    else:
        call = f"{name}({given[0]:,}, align {given[1]})"
    return f"{call} -> {operation.result:#x}" if operation.result else f"{call} -> 0: no memory"


def value_read(word: Word, observer: Observer) -> str:
    value = observer.values.get(word.address)
    return f"{word.name} = {seen(value, word, observer)}" if value is not None else word.name


def changes(words: Iterable[Word], observer: Observer) -> list[str]:
    """A line for each word that was stored to, with its old and new value."""
    lines = []
    for word in words:
        if word.stores and word.before is None:
            lines.append(f"{word.name}: {seen(word.after, word, observer)}")
        elif word.stores and word.before != word.after:
            lines.append(f"{word.name}: {seen(word.before, word, observer)} -> {seen(word.after, word, observer)}")
    return lines


def seen(value: int | None, word: Word, observer: Observer) -> str:
    if value is None:
        return "?"
    return shown(value, word.is_pointer, observer.names, observer.runtime.heap.process.heap_start)


def shown(value: int, is_pointer: bool, names: WordNames, heap_start: int) -> str:
    """A word's value: a place by its name, a number in decimal unless it is an address or very large."""
    if is_pointer:
        return names.place_name(value)
    is_address = value in names.structs and value >= heap_start
    return f"{value:#x}" if is_address or abs(value) >= 1 << 32 else f"{value:,}"


def limited(lines: list[str], what: str) -> list[str]:
    more = len(lines) - MAX_WORDS
    return lines if more <= 0 else [*lines[:MAX_WORDS], f"and {more} more {what}"]


def folded(title: str, parts: list[str], width: int) -> list[str]:
    """Parts with commas between them, on as many lines as they need."""
    lines, line = [], f"  {title} "
    for index, part in enumerate(limited(parts, f"words {title}")):
        if index and len(line) + len(part) + 2 > width:
            lines.append(f"{line},")
            line = " " * (len(title) + 3) + part
        else:
            line += f", {part}" if index else part
    return [*lines, line] if parts else []
