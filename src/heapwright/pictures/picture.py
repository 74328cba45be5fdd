"""A picture of a heap or of one step of an allocator: to print, to show in a notebook, or to save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heapwright.pictures.step import draw_step
from heapwright.pictures.svg import draw_svg
from heapwright.pictures.terminal import draw_heap
from heapwright.programs.scene import Scene, look_at

if TYPE_CHECKING:
    from rich.text import Text

    from heapwright.collections import Runtime
    from heapwright.programs.watch import Observer, OperationStep

WIDTH = 100  # columns


class Picture:
    """The result of `heap.draw()`: the heap's blocks in address order, with its free lists as arrows.

    `print(picture)` draws it with characters. A notebook shows it as SVG, and `picture.svg()` is that SVG. `scene` has
    the facts that are drawn: `spans`, `links`, `chains` and the break, `brk`.

    >>> from heapwright import start
    >>> picture = start("kr").draw()
    >>> picture
    0x4000  break
    >>> picture.svg().startswith("<svg ")
    True
    """

    def __init__(self, scene: Scene, heading: Sequence[Text] = ()):
        self.scene, self.heading = scene, list(heading)

    def lines(self, width: int = WIDTH) -> list[Text]:
        """The picture as lines of styled text; those of the heap are at most `width` columns wide."""
        return [*self.heading, *draw_heap(self.scene, width)]

    def text(self, width: int = WIDTH) -> str:
        """The picture as plain text."""
        return "\n".join(line.plain.rstrip() for line in self.lines(width))

    def svg(self) -> str:
        """The picture as an SVG document, for light and dark backgrounds."""
        return draw_svg(self.scene, [(line.plain, str(line.style)) for line in self.heading])

    def save(self, path: str | Path) -> None:
        """Write the picture to a file: as SVG if its name ends in .svg, else as text."""
        is_svg = Path(path).suffix == ".svg"
        Path(path).write_text(self.svg() if is_svg else f"{self.text()}\n", encoding="utf-8")

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__  # so that a Python prompt draws it

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x: auto">{self.svg()}</div>'


def step_picture(title: str, runtime: Runtime, observer: Observer, step: OperationStep, width: int = WIDTH) -> Picture:
    """A picture of a step: the operation, the words that the allocator read and changed, and the heap after it."""
    return Picture(look_at(runtime, observer, step).scene(), draw_step(title, step, observer, width))
