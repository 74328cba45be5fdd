"""The panes: each asks the view for as many lines as it has room for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text
from textual.widgets import Static

from heapwright.machine.source import Place, file_name
from heapwright.stepper.view import View

THEME = "ansi_dark"
Lines = Callable[[int, int], list[Text]]


class Pane(Static):
    """Lines of the view, as many as fit."""

    def __init__(self, title: str, lines: Lines, name: str):
        super().__init__(id=name)
        self.border_title, self.lines = title, lines

    def render(self) -> RenderableType:
        width, height = self.content_size
        return Group(*(self.lines(width, height) if width and height else []))


class SourcePane(Static):
    """The allocator's source around the line that made the latest access."""

    def __init__(self, view: View, name: str):
        super().__init__(id=name)
        self.view = view

    def render(self) -> RenderableType:
        place, path = self.view.source()
        self.border_title = f"{file_name(place.file)}  {path}" if place else "source"
        height = self.content_size.height
        return source_around(place, height) if place and height else Text()


def source_around(place: Place, height: int) -> RenderableType:
    """The lines of a file around one, which is marked."""
    try:
        source = Path(place.file).read_text(encoding="utf-8")
    except OSError:
        return Text(place.text)
    last = source.count("\n") + 1
    first = max(1, min(place.line - height // 2, last - height + 1))
    return Syntax(
        source, "python", theme=THEME, line_numbers=True, line_range=(first, first + height - 1),
        highlight_lines={place.line}, word_wrap=False,
    )  # fmt: skip
