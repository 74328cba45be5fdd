"""What a reader sees at a position, as lines of styled text: calls, accesses, heap, and the words of a block."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from pathlib import Path
from typing import TypeVar

from rich.text import Text

from heapwright.machine.source import Place
from heapwright.pictures.picture import Picture
from heapwright.pictures.terminal import draw_heap, rows_of
from heapwright.programs.scene import Scene, Span
from heapwright.stepper.describe import asked_by, event_text, name_of, word_text
from heapwright.stepper.events import Call, Event, Kind
from heapwright.stepper.outline import Outline, Row, Shape, stops
from heapwright.stepper.recorder import Recording
from heapwright.stepper.stepper import Stepper
from heapwright.wording import counted

HERE, THERE = "▶ ", "  "
STYLES = {
    Kind.LOAD: "",
    Kind.STORE: "yellow",
    Kind.FILL: "yellow",
    Kind.COPY: "yellow",
    Kind.KERNEL: "cyan",
    Kind.CALL: "bold",
    Kind.RETURN: "bold",
    Kind.FAULT: "bold red",
}
Line = TypeVar("Line")
MAX_WORDS = 512  # of a block that are shown
WORD = 8
INDEX = re.compile(r"\[\d+\]")


class View(Stepper):
    """A stepper that can show where it is. `selected` is the block that the reader chose; None follows the accesses.

    >>> from heapwright import step
    >>> view = step("boxtest", "kr")
    >>> view.to_call(1)
    >>> view.title()
    'call 1 of 8, event 34 of 34'
    """

    def __init__(self, recording: Recording):
        super().__init__(recording)
        self.selected: int | None = None
        self._drawn: tuple[int, Scene, str] | None = None

    # --- the heap, drawn once for each position

    @property
    def shown(self) -> Scene:
        return self._draw()[1]

    @property
    def torn(self) -> str:
        """Why the heap here cannot be drawn and the one before the call is; "" if it can."""
        return self._draw()[2]

    def _draw(self) -> tuple[int, Scene, str]:
        if self._drawn is None or self._drawn[0] != self.position:
            self._drawn = self.position, *self.drawable()
        return self._drawn

    # --- lines at the top and the bottom

    def title(self) -> str:
        call = self.call
        if call is None:
            return f"before the first of {counted(len(self.calls), 'calls')}"
        text = f"call {call.number:,} of {len(self.calls):,}"
        done = min(self.position, call.last + 1) - call.first
        return f"{text}, event {done:,} of {call.last + 1 - call.first:,}"

    def totals(self) -> str:
        """What is live, what is free, and what the kernel gave."""
        live = [owned.block.size for owned in self.state.live.values()]
        free = [span.size for span in self.shown.spans if span.kind in {"free", "cached"}]
        parts = [
            f"{counted(sum(live), 'bytes')} live in {counted(len(live), 'blocks')}",
            f"{counted(sum(free), 'bytes')} free in {counted(len(free), 'blocks')}",
            f"{counted(self.state.bounds.held, 'bytes')} from the kernel",
        ]
        return " · ".join(parts)

    # --- the calls

    def call_lines(self, width: int, height: int) -> list[Text]:
        """The calls around this one, and what the program printed between them."""
        call = self.call
        here = call.number - 1 if call else 0
        near = self.calls[max(0, here - height) : here + height + 1]
        lines: list[Text] = []
        current = 0
        for each in near:
            if each is call:
                current = len(lines)
            lines.append(self._call_line(each, each is call))
            lines += self._printed_after(each)
        return fit(window(lines, current, height), width)

    def _call_line(self, call: Call, is_here: bool) -> Text:
        is_past = call.last < self.position
        style = "bold" if is_here else "" if is_past else "dim"
        text = Text.assemble((HERE if is_here else THERE, "bold"), (f"#{call.number} ", "dim"))
        return text.append(asked_by(call, is_past), style).append(f"   {said_of(call)}", "dim")

    def _printed_after(self, call: Call) -> list[Text]:
        """What the program printed between a call and the next one."""
        output, after = self.recording.output, self.calls[call.number : call.number + 1]
        first, end = bisect_right(output, (call.last + 1,)), after[0].first if after else len(self)
        lines = takewhile(lambda each: each[0] <= end, output[first:])
        return [Text(f"{THERE}prints {line}", "green" if at <= self.position else "dim") for at, line in lines]

    # --- the accesses of the call

    def access_lines(self, width: int, height: int) -> list[Text]:
        """The events of the call as an outline: functions and loops are summarised unless we are in them."""
        rows = self._outline()
        current = next((number for number, row in enumerate(rows) if row.holds(self.position)), 0)
        shown = window(rows, current, height)
        margin = min((row.depth for row in shown), default=0)
        return fit([self._row_line(row, "  " * (row.depth - margin)) for row in shown], width)

    def row_ends(self) -> list[int]:
        """The positions after each row of that outline."""
        return stops(self._outline(), self.position)

    def _outline(self) -> list[Row]:
        call = self.call
        return list(Outline(self.log, self.position).rows(call.first, call.last + 1)) if call else []

    def _row_line(self, row: Row, indent: str) -> Text:
        here = self.position
        is_here = row.holds(here)
        if row.shape == Shape.EVENT:
            return self._event_line(self.log[row.first], indent)
        style = "reverse magenta" if is_here else "magenta" if row.first < here else "dim"
        return Text.assemble((HERE if is_here else THERE, "bold"), indent, (self._heading(row), style))

    def _heading(self, row: Row) -> str:
        if row.shape == Shape.OPEN:
            return f"▾ {row.title}"
        if row.shape == Shape.CLOSED:
            return f"▸ {row.title}: {counted(row.end - row.first, 'events')}{self._changed_in(row)}"
        if row.first < self.position < row.end:
            return f"turn {row.turn + 1:,} of {row.times:,}:"
        return f"{row.times:,} times, {counted(row.end - row.first, 'events')}{self._changed_in(row)}; such as:"

    def _changed_in(self, row: Row) -> str:
        """The words that the events of a row change, and its kernel calls."""
        found: dict[str, None] = {}
        for number in range(row.first, row.end):
            kind = self.log.columns["kind"][number]
            if kind == Kind.KERNEL:
                found[self.recording.notes[number].partition("(")[0]] = None
            elif kind == Kind.STORE:
                found[name_of(self, self.log[number])[0].partition(" at ")[0]] = None
        return f"; {', '.join(without_indexes(found))}" if found else ""

    def _event_line(self, event: Event, indent: str = "") -> Text:
        is_here = event.number == self.position - 1
        is_past = event.number < self.position
        style = STYLES[event.kind] if is_past else "dim"
        line = Text.assemble((f"{HERE if is_here else THERE}{indent}", "bold"))
        line.append(event_text(self, event), f"reverse {style}" if is_here else style)
        return line

    # --- the source

    def source(self) -> tuple[Place | None, str]:
        """The line that made the latest access, or called the allocator, and the functions that led there."""
        event, call = self.event, self.call
        if event is None or call is None:
            return None, ""
        if event.kind == Kind.CALL and call.place:
            return call.place, "the program"
        event = event if event.place else self._placed(call, event)
        return event.place, " › ".join(dict.fromkeys(place.function for place in event.stack))

    def _placed(self, call: Call, event: Event) -> Event:
        """The access of a call that is nearest to an event without a line of the allocator."""
        numbers = range(call.first, call.last + 1)
        near = sorted(numbers, key=lambda number: abs(number - event.number))
        return next((self.log[number] for number in near if self.log.columns["stack"][number]), event)

    # --- the heap

    def heap_lines(self, width: int, height: int) -> list[Text]:
        """The blocks in address order with the free lists as arrows; the block under the cursor is marked."""
        scene, block = self.shown, self.block()
        rows = list(rows_of(scene))
        lines = [Text(self._torn_note(), "red")] if self.torn else []
        first, current = len(lines), 0
        for number, line in enumerate(draw_heap(scene, width - len(HERE))):
            span = rows[number].span if number < len(rows) else None
            is_here = span is not None and block is not None and span.start <= block.start < span.end
            current = first + number if is_here else current
            lines.append(Text.assemble((HERE if is_here else THERE, "bold"), line))
        return fit(window(lines, current, height), width)

    def _torn_note(self) -> str:
        return f"in the middle of a change: {self.torn}. This is the heap before the call."

    def block(self) -> Span | None:
        """The block under the cursor: the one that the reader chose, or that the latest access touched."""
        address = self.selected
        if address is None:
            address = self._touched()
        return next((span for span in self.shown.spans if span.start <= address < span.end), None)

    def _touched(self) -> int:
        """The latest address in the heap that the call used."""
        call, scene = self.call, self.shown
        if call and call.is_over and not self.is_inside:
            return call.arguments[0] if call.name == "dealloc" else call.result or 0
        first = call.first if call else 0
        for number in range(self.position - 1, first - 1, -1):
            address = self.log.columns["address"][number]
            if any(span.start <= address < span.end for span in scene.spans):
                return address
        return 0

    def move(self, blocks: int) -> None:
        """Choose another block: the next one, or one before."""
        spans, block = self.shown.spans, self.block()
        if spans:
            at = next((number for number, span in enumerate(spans) if block and span.start == block.start), -1)
            self.selected = spans[max(0, min(len(spans) - 1, at + blocks))].start

    # --- the words of the block, and the fault

    def word_lines(self, width: int, height: int) -> list[Text]:
        """The words of the block under the cursor, by name; equal ones are summarised. At a fault, its report."""
        event, block = self.event, self.block()
        if event is not None and event.kind == Kind.FAULT:
            return fit([Text(line) for line in self.recording.notes[event.number].splitlines()], width)
        if block is None:
            return []
        here = event.address if event else 0
        changed = self.changed()
        addresses = range(block.start - block.start % WORD, min(block.end, block.start + MAX_WORDS * WORD), WORD)
        told = [(word_text(self, address), address) for address in addresses]
        lines: list[Text] = []
        current = 0
        for (name, value), group in groupby(told, key=lambda each: each[0]):
            places = [address for _, address in group]
            is_here = any(address <= here < address + WORD for address in places)
            current = len(lines) if is_here else current
            style = "reverse" if is_here else "yellow" if changed & set(places) else ""
            lines.append(word_line(places, name, value, style))
        return fit(window(lines, current, height), width)

    # --- a picture to keep

    def picture(self) -> Picture:
        """The heap here, with the call and its latest events above it."""
        call = self.call
        heading = [self._call_line(call, True)] if call else []
        heading += [line for line in self.access_lines(100, 12) if line.plain.strip()]
        if self.torn:
            heading.append(Text(self._torn_note(), "red"))
        return Picture(self.shown, heading)

    def _repr_html_(self) -> str:
        return self.picture()._repr_html_()

    def file_name(self, program: str) -> str:
        """A name for that picture."""
        call = self.call
        name = Path(program).stem or "steps"
        return f"{name}-{call.number if call else 0}-{self.position}.svg"


def without_indexes(names: Iterable[str]) -> list[str]:
    """Names, where those that differ in their indexes only are one: `bins[…].next`."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(INDEX.sub("[…]", name), []).append(name)
    return [pattern if found[1:] else found[0] for pattern, found in alike.items()]


def said_of(call: Call) -> str:
    """Who made a call, and where."""
    return ", ".join(filter(None, (call.owner, str(call.place) if call.place else "")))


def word_line(places: Sequence[int], name: str, value: str, style: str) -> Text:
    more = f"  × {len(places):,} words" if places[1:] else ""
    return Text.assemble((f"{places[0]:#x}  ", "dim"), (f"{name:<24} ", style), (f"{value}{more}", style))


def window(lines: list[Line], current: int, height: int) -> list[Line]:
    """As many lines as there is room for, with the current one near the middle."""
    start = max(0, min(current - height // 2, len(lines) - height))
    return lines[start : start + height]


def fit(lines: list[Text], width: int) -> list[Text]:
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines
