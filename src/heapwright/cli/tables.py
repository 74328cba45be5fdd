"""Tables that fit the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # blanks between columns


def print_table(
    out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1, *, has_total: bool = False
) -> None:
    """Print a table whose first `words` columns are text and the others numbers; a total in the last row is bold.

    A table that is too wide is printed in parts, one below the other, each with the text columns. No cell is cut: a
    text or a head that is too long is folded.
    """
    shape = best_shape([*zip(columns, *rows, strict=True)], words, out.width)
    for place, part in enumerate(shape.parts):
        if place:
            out.print()
        table = empty([(columns[each], shape.widths[each], each >= words) for each in part])
        for row in rows:
            style = "bold" if has_total and row is rows[-1] else None
            table.add_row(*(Text(row[each]) for each in part), style=style)
        out.print(table)


@dataclass(frozen=True)
class Shape:
    """The width of each column, and the columns of each part."""

    widths: list[int]
    parts: list[list[int]]


def best_shape(columns: Sequence[Sequence[str]], words: int, width: int) -> Shape:
    """The shape with the fewest parts. Texts are folded to a half or a third of the width only if that saves one."""
    natural = [max(map(cell_len, column)) for column in columns]
    bodies = [max(map(cell_len, column[1:]), default=0) for column in columns]
    maximum = width - GAP * words - max(bodies[words:], default=0)
    shapes = []
    for room in (maximum, width // 2, width // 3):
        texts = shrunk(natural[:words], min(room, maximum))
        left = width - sum(texts) - GAP * words
        numbers = [max(body, min(each, left)) for body, each in zip(bodies[words:], natural[words:], strict=True)]
        shapes.append(Shape([*texts, *numbers], parts([*texts, *numbers], words, width)))
    return min(shapes, key=lambda shape: len(shape.parts))


def shrunk(widths: Sequence[int], room: int) -> list[int]:
    """The widths, reduced until they fit `room`: the widest gives way first, and each keeps at least 1."""
    left = list(widths)
    while sum(left) > max(room, len(left)):
        left[left.index(max(left))] -= 1
    return left


def parts(widths: Sequence[int], words: int, width: int) -> list[list[int]]:
    """The columns of each part: all texts, and as many of the next numbers as fit."""
    found: list[list[int]] = []
    room = 0
    for place in range(words, len(widths)):
        room -= GAP + widths[place]
        if room < 0 or not found:
            found.append(list(range(words)))
            room = width - sum(widths[:words]) - GAP * words - widths[place]
        found[-1].append(place)
    return found


def empty(columns: Sequence[tuple[str, int, bool]]) -> Table:
    """A table without rows: the head, width and kind of each column."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, width, is_number in columns:
        table.add_column(Text(head), width=width, justify="right" if is_number else "left", overflow="fold")
    return table
