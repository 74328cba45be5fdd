"""What the commands share: the console, and the progress line on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from heapwright.wording import counted

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int, file: TextIO | None = None) -> Console:
    """A console on standard output or `file`, as wide as the terminal or $COLUMNS says, otherwise `width` columns."""
    from rich.console import Console

    out = file or sys.stdout
    return Console(file=out, width=None if is_width_known(out) else width, highlight=False)


def is_width_known(file: TextIO) -> bool:
    return file.isatty() or os.environ.get("COLUMNS", "").isdecimal()


def say(out: Console, line: str) -> None:
    """Print a line of text without markup. It is folded only if the terminal's width is known."""
    is_known = is_width_known(sys.stdout)
    out.print(line, markup=False, soft_wrap=not is_known, overflow="fold" if is_known else None)


def tell(line: str, end: str = "\n") -> None:
    """Print a line on standard error."""
    sys.stderr.write(line + end)
    sys.stderr.flush()


def progress(line: str) -> None:
    """Overwrite the progress line; "" clears it. Nothing is printed unless standard error is a terminal."""
    if sys.stderr.isatty():
        tell(f"\r\x1b[K{line}", end="")


@contextmanager
def bar(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error. The function does one of its steps and shows a line. Only a terminal gets a bar."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    shown = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with shown:
        task = shown.add_task("", total=steps)
        yield lambda line: shown.update(task, advance=1, description=escape(line))


def tell_notes(notes: Mapping[str, int]) -> None:
    """Print what was repaired, dropped or left out, one line each. Each sentence begins with a plural noun."""
    for sentence, count in notes.items():
        tell(f"  {counted(count, sentence)}")
