"""A heap as an SVG document: the rows of the terminal's picture, and above them the heap to scale.

The colours are variables of its style sheet, one set for light backgrounds and one for dark. Words and the pattern of
its bar also show a block's kind, so the picture can be read without colours. It loads nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

from heapwright.pictures.terminal import BAR, Arrow, Row, arrows_between, bar_length, rows_of
from heapwright.programs.scene import Scene, Span

LINE, FONT, CHAR = 20, 12, 7.3  # pixels: a row, the font's size, the width of one of its characters
MARGIN, LANE, CELL = 12, 9, 11  # around the picture, between arrows, for each cell of a bar
GUTTER, GAP = 18, 8  # for an arrow's head; between the parts of the picture
MAP = 10  # the height of the heap to scale
MIN_PART = 1.5  # pixels of the smallest block in that bar
BASE = LINE - 6  # from the top of a row to the base line of its text
SIZE_ENDS = 17  # columns from where a block's kind begins to where its size ends
LONGEST = 120  # characters of one text
CLASSES = {"": "strong", "dim": "faint", "yellow": "word", "cyan": "call"}  # of the styles in a step's heading

LIGHT = {
    "back": "#ffffff", "ink": "#1f2328", "faint": "#59636e", "line": "#d1d9e0", "word": "#7d4e00", "call": "#0b6478",
    "free": "#d9f2df", "free-edge": "#1a7f37", "used": "#54606e", "used-edge": "#3d4752", "cached": "#fff1c2",
    "cached-edge": "#9a6700", "own": "#e6dcff", "own-edge": "#6f42c1", "unused": "#ffffff", "unused-edge": "#8c959f",
    "changed": "#cf222e",
}  # fmt: skip
DARK = {
    "back": "#0d1117", "ink": "#e6edf3", "faint": "#9198a1", "line": "#30363d", "word": "#e3b341", "call": "#6fcbe0",
    "free": "#12351d", "free-edge": "#3fb950", "used": "#8b98a6", "used-edge": "#b1bac4", "cached": "#3b2e0a",
    "cached-edge": "#d29922", "own": "#2b2145", "own-edge": "#a47ff0", "unused": "#0d1117", "unused-edge": "#6e7681",
    "changed": "#ff7b72",
}  # fmt: skip
DASHES = {"free": "4 2", "cached": "1 2", "own": "6 2 1 2", "unused": "1 4"}  # the edge of a bar, by kind
THEMES = {
    '[data-theme="dark"] .heapwright, [data-jp-theme-light="false"] .heapwright, .vscode-dark .heapwright': DARK,
    '[data-theme="light"] .heapwright, [data-jp-theme-light="true"] .heapwright, .vscode-light .heapwright': LIGHT,
}  # how a page marks its theme: Furo and others, Jupyter, VS Code


class Label(NamedTuple):
    """A text whose left end lies at `x`, and whose row begins at `y`."""

    x: float
    y: float
    content: str
    style: str = "plain"

    @property
    def right(self) -> float:
        return self.x + len(self.content) * CHAR

    def __str__(self) -> str:
        place = f'x="{self.x:.1f}" y="{self.y + BASE:.1f}"'
        return f'<text class="{self.style}" {place}>{escape(self.content)}</text>'


def draw_svg(scene: Scene, heading: Sequence[tuple[str, str]] = ()) -> str:
    """The picture; a heading is lines of text with their styles."""
    rows = list(rows_of(scene))
    arrows, lanes = arrows_between(rows, scene.links)
    lists = [(f"free list: {' -> '.join((chain.head, *chain.nodes))}", "plain") for chain in scene.chains]
    left = MARGIN + lanes * LANE + (GUTTER if lanes else 0)
    scale = MARGIN + len(heading) * LINE + (GAP if heading else 0)
    top = scale + (MAP + GAP if scene.spans else 0)
    below = top + len(rows) * LINE + GAP
    parts = [
        *lines(heading, MARGIN),
        *(part for number, row in enumerate(rows) for part in row_parts(row, left, top + number * LINE)),
        *(part for arrow in arrows for part in arrow_parts(arrow, left, top)),
        *lines(lists, below),
        *legend(scene.spans, below + len(lists) * LINE),
    ]
    width = round(max((part.right for part in parts if isinstance(part, Label)), default=0)) + MARGIN
    height = below + (len(lists) + bool(scene.spans)) * LINE + MARGIN
    return document(width, height, [*to_scale(scene.spans, scale, width), *map(str, parts)], len(scene.spans))


def document(width: int, height: int, parts: Sequence[str], blocks: int) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="heapwright" width="{width}" height="{height}"'
    about = f'viewBox="0 0 {width} {height}" role="img" aria-label="a heap: {blocks} blocks in address order"'
    back = f'<rect class="back" width="{width}" height="{height}" rx="6"/>'
    return "\n".join([f"{head} {about}>", f"<style>{STYLE}</style>", back, *parts, "</svg>"])


# --- rows


def row_parts(row: Row, left: float, y: float) -> Iterator[str | Label]:
    if row.span is None:
        content = row.text.plain
        blanks = len(content) - len(content.lstrip())
        yield Label(left + blanks * CHAR, y, content.strip(), "strong" if content.endswith("break") else "faint")
        return
    span, address = row.span, f"{row.span.start:#x}"
    end = left + (row.text.plain.index(address) + len(address) + 1) * CHAR
    yield Label(end - (len(address) + 1) * CHAR, y, address)
    yield f"<g><title>{escape(told(span))}</title>{bar(span, end, y + 3, bar_length(span.size) * CELL, LINE - 6)}</g>"
    x, style, size = end + BAR * CELL + CHAR, "strong" if span.is_changed else "plain", f"{span.size:,}"
    yield Label(x, y, span.kind, style)
    yield Label(x + (SIZE_ENDS - len(size)) * CHAR, y, size, style)
    if span.note:
        yield Label(x + (SIZE_ENDS + 2) * CHAR, y, cut(span.note), "faint")


def told(span: Span) -> str:
    return f"{span.kind}, {span.size:,} bytes at {span.start:#x}{f': {span.note}' if span.note else ''}"


def bar(span: Span, x: float, y: float, width: float, height: float) -> str:
    changed = " changed" if span.is_changed else ""
    size = f'width="{width:.1f}" height="{height}"'
    return f'<rect class="bar {span.kind}{changed}" x="{x:.1f}" y="{y:.1f}" {size} rx="2"/>'


def lines(texts: Sequence[tuple[str, str]], y: float) -> Iterator[Label]:
    for number, (line, style) in enumerate(texts):
        indent = len(line) - len(line.lstrip())
        yield Label(MARGIN + indent * CHAR, y + number * LINE, cut(line.strip()), CLASSES.get(style, style))


def cut(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


# --- arrows, the heap to scale, the legend


def arrow_parts(arrow: Arrow, left: float, top: float) -> Iterator[str]:
    """An arrow from the row of a block around to the row of the next one on its list; the head is a triangle."""
    start, end = (top + number * LINE + LINE / 2 for number in (arrow.source, arrow.target))
    tip, x, turn = left - 3, left - 12 - (arrow.lane + 1) * LANE, 4 if end > start else -4
    way = (
        f"M{tip - 2} {start} H{x + 4} Q{x} {start} {x} {start + turn} V{end - turn} Q{x} {end} {x + 4} {end} H{tip - 6}"
    )
    yield f'<path class="arrow" d="{way}"/>'
    yield f'<path class="head" d="M{tip} {end} l-7 -4 v8 z"/>'


def to_scale(spans: Sequence[Span], y: float, width: float) -> Iterator[str]:
    """The whole heap as one bar; neighbours of one kind are joined, and no part is too small to see."""
    if not spans:
        return
    parts = [(kind, sum(span.size for span in group)) for kind, group in groupby(spans, lambda span: span.kind)]
    total, room = sum(size for _, size in parts), width - 2 * MARGIN
    widths = [max(MIN_PART, size / total * room) for _, size in parts]
    x, factor = float(MARGIN), room / sum(widths)
    for (kind, size), part in zip(parts, widths, strict=True):
        yield f"<g><title>{size:,} bytes {kind}</title>{bar(Span(0, size, kind), x, y, part * factor, MAP)}</g>"
        x += part * factor


def legend(spans: Sequence[Span], y: float) -> Iterator[str | Label]:
    x = float(MARGIN)
    for kind in dict.fromkeys(span.kind for span in spans):
        yield bar(Span(0, 0, kind), x, y + 5, 14, LINE - 10)
        yield Label(x + 19, y, kind, "faint")
        x += 19 + (len(kind) + 3) * CHAR
    if any(span.is_changed for span in spans):
        yield bar(Span(0, 0, "unused", is_changed=True), x, y + 5, 14, LINE - 10)
        yield Label(x + 19, y, "changed by this step", "faint")


def rules(selector: str, colours: dict[str, str]) -> str:
    return f"{selector} {{ {' '.join(f'--hw-{name}: {value};' for name, value in colours.items())} }}"


def kind_rules() -> str:
    drawn = [
        f".heapwright .{kind} {{ fill: var(--hw-{kind}); stroke: var(--hw-{kind}-edge); {dash} }}"
        for kind in ("free", "used", "cached", "own", "unused")
        for dash in (f"stroke-dasharray: {DASHES[kind]};" if kind in DASHES else "",)
    ]
    return "\n".join(drawn)


STYLE = "\n".join(
    [
        rules(".heapwright", LIGHT),
        f"@media (prefers-color-scheme: dark) {{ {rules('.heapwright', DARK)} }}",
        *(rules(selector, colours) for selector, colours in THEMES.items()),
        f".heapwright text {{ font: {FONT}px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; "
        "fill: var(--hw-ink); white-space: pre; }",
        ".heapwright .back { fill: var(--hw-back); stroke: var(--hw-line); }",
        ".heapwright text.strong { font-weight: bold; }",
        *(f".heapwright text.{name} {{ fill: var(--hw-{name}); }}" for name in ("faint", "word", "call")),
        kind_rules(),
        ".heapwright .changed { stroke: var(--hw-changed); stroke-width: 2; stroke-dasharray: none; }",
        ".heapwright .arrow { fill: none; stroke: var(--hw-free-edge); stroke-width: 1.5; }",
        ".heapwright .head { fill: var(--hw-free-edge); }",
    ]
)
