"""A heap as lines of text: its blocks in address order, and the free lists as arrows along them.

        ── page 0x4000
    ╭─  0x4000  free      65,472  ░░░░░░░░░░░░   -> 0x13fe0; crosses 15 page boundaries from 0x5000
    │  0x13fc0  used          32  ██             #2 Box<i32>, 4 bytes at 0x13fd0
    ╰▶ 0x13fe0  free          32  ██             -> anchor
       0x14000  break
    free list: rover -> 0x13fe0 -> anchor -> 0x4000 -> 0x13fe0

These are pure functions from data to text. A bar grows by one cell when the size doubles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.text import Text

from heapwright.programs.scene import Chain, Scene, Span

STYLES = {"free": "green", "used": "bold", "cached": "yellow", "own": "cyan", "unused": "dim", "changed": "reverse"}
SHADES = {"free": "░", "used": "█", "cached": "▓", "own": "▒", "unused": "·"}
MIN_BLOCK = 16
BAR = 13  # cells: a bar this long is 64 KiB or more
LANES = 6  # arrows side by side; arrows without room appear in the text only
RUN_OF_USED = 4  # consecutive blocks in use that are still drawn one by one
RUN_OF_OTHERS = 8


class Row(NamedTuple):
    """One line: `anchors` are the starts of the spans in it, to which arrows may lead; `span` is the one it shows."""

    anchors: tuple[int, ...]
    text: Text
    span: Span | None = None


def draw_heap(scene: Scene, width: int = 100) -> list[Text]:
    """The picture, with lines of at most `width` columns."""
    rows = list(rows_of(scene))
    gutters = draw_arrows(*arrows_between(rows, scene.links), len(rows))
    lines = [Text.assemble((gutter, "green"), row.text) for gutter, row in zip(gutters, rows, strict=True)]
    lines += [line for chain in scene.chains for line in draw_chain(chain, width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


# --- rows


def rows_of(scene: Scene) -> Iterable[Row]:
    digits = max((len(f"{span.end:#x}") for span in scene.spans), default=len(f"{scene.brk:#x}"))
    end, is_above = None, False
    for run in runs(scene.spans):
        start = run[0].start
        if not is_above and start >= scene.brk:
            is_above = True
            yield Row((), draw_break(scene.brk, digits))
        if end is not None and start != end:
            yield Row((), Text(f"{'':{digits}}  {start - end:,} bytes that are not the heap's", "dim"))
        if start % scene.page == 0:
            yield Row((), Text(f"{'':{digits}}  ── page {start:#x}", "dim"))
        yield draw_run(run, digits) if len(run) > 1 else draw_span(run[0], scene.page, digits)
        end = run[-1].end
    if not is_above:
        yield Row((), draw_break(scene.brk, digits))


def runs(spans: Sequence[Span]) -> list[list[Span]]:
    """Spans one by one, except long runs of unchanged spans of one kind."""
    found: list[list[Span]] = []
    for span in spans:
        last = found[-1] if found else []
        if last and are_alike(last[-1], span) and last[-1].end == span.start:
            last.append(span)
        else:
            found.append([span])
    return [part for run in found for part in ([run] if is_long(run) else [[span] for span in run])]


def are_alike(before: Span, span: Span) -> bool:
    return before.kind == span.kind and not before.is_changed and not span.is_changed


def is_long(run: list[Span]) -> bool:
    return len(run) > (RUN_OF_USED if run[0].kind == "used" else RUN_OF_OTHERS)


def draw_span(span: Span, page: int, digits: int) -> Row:
    style = f"{STYLES[span.kind]} {STYLES['changed']}" if span.is_changed else STYLES[span.kind]
    notes = "; ".join(filter(None, (span.note, boundaries(span, page))))
    line = line_of(span, SHADES[span.kind] * bar_length(span.size), notes, style, digits)
    return Row((span.start,), line, span._replace(note=notes))


def draw_run(run: list[Span], digits: int) -> Row:
    kind, sizes = run[0].kind, {span.size for span in run}
    whole = Span(run[0].start, run[-1].end - run[0].start, kind)
    notes = f"{len(run)} blocks" + (f" of {run[0].size:,} bytes" if len(sizes) == 1 else "")
    line = line_of(whole, SHADES[kind] * bar_length(whole.size), notes, STYLES[kind], digits)
    return Row(tuple(span.start for span in run), line, whole._replace(note=notes))


def line_of(span: Span, bar: str, notes: str, style: str, digits: int) -> Text:
    text = Text(f"{f'{span.start:#x}':>{digits}}  ")
    text.append(f"{span.kind:<6} {span.size:>9,}", style).append(f"  {bar:<{BAR}}", STYLES[span.kind])
    text.append(f"  {notes}" if notes else "")
    text.rstrip()
    return text


def draw_break(brk: int, digits: int) -> Text:
    return Text(f"{f'{brk:#x}':>{digits}}  break", "bold")


def bar_length(size: int) -> int:
    """The cells of a bar: one for the smallest block, one more for each doubling."""
    return min(BAR, max(1, (size // MIN_BLOCK).bit_length()))


def boundaries(span: Span, page: int) -> str:
    """A note about the page boundaries inside a span."""
    first, last = span.start - span.start % page + page, (span.end - 1) - (span.end - 1) % page
    if first > last:
        return ""
    if first == last:
        return f"crosses page boundary {first:#x}"
    return f"crosses {(last - first) // page + 1} page boundaries from {first:#x}"


# --- arrows


class Arrow(NamedTuple):
    """An arrow from one row to another, in a lane; lane 0 is next to the text."""

    source: int
    target: int
    lane: int

    @property
    def top(self) -> int:
        return min(self.source, self.target)

    @property
    def bottom(self) -> int:
        return max(self.source, self.target)


def arrows_between(rows: Sequence[Row], links: Iterable[tuple[int, int]]) -> tuple[list[Arrow], int]:
    """The arrows that find a lane, short ones next to the text, and the number of lanes."""
    row_of = {anchor: number for number, row in enumerate(rows) for anchor in row.anchors}
    ends = [(row_of[a], row_of[b]) for a, b in links if a in row_of and b in row_of]
    arrows: list[Arrow] = []
    for source, target in sorted(ends, key=lambda end: (abs(end[0] - end[1]), end)):
        free = [lane for lane in range(LANES) if not any(meets(arrow, source, target, lane) for arrow in arrows)]
        if free and source != target:
            arrows.append(Arrow(source, target, free[0]))
    return arrows, max((arrow.lane + 1 for arrow in arrows), default=0)


def meets(arrow: Arrow, source: int, target: int, lane: int) -> bool:
    low, high = min(source, target), max(source, target)
    return arrow.lane == lane and arrow.top <= high and low <= arrow.bottom


def draw_arrows(arrows: Sequence[Arrow], lanes: int, rows: int) -> list[str]:
    """The gutter of each row, all equally wide."""
    if not arrows:
        return [""] * rows
    grid = [[" "] * (lanes + 1) for _ in range(rows)]
    for arrow in arrows:
        column = lanes - 1 - arrow.lane
        for row in range(arrow.top + 1, arrow.bottom):
            put(grid[row], column, "│")
        put(grid[arrow.top], column, "╭")
        put(grid[arrow.bottom], column, "╰")
        for row in (arrow.source, arrow.target):
            for cell in range(column + 1, lanes + 1):
                put(grid[row], cell, "─")
    for arrow in arrows:
        grid[arrow.target][lanes] = "▶"
    return ["".join(line) + " " for line in grid]


CROSSINGS = {"│─": "┼", "─│": "┼", "╭─": "┬", "─╭": "┬", "╰─": "┴", "─╰": "┴"}


def put(line: list[str], column: int, stroke: str) -> None:
    line[column] = CROSSINGS.get(line[column] + stroke, stroke)


# --- lists


def draw_chain(chain: Chain, width: int) -> list[Text]:
    """A free list in its order, folded to the width."""
    lines, line = [], f"free list: {chain.head}"
    for node in chain.nodes:
        if len(line) + len(node) + 4 > width:
            lines.append(line)
            line = " " * 10
        line += f" -> {node}"
    return [Text(each, "green") for each in (*lines, line)]
