"""What commands do alike: tables and drawings on standard output, a line of progress on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int) -> Console:
    """Standard output: as wide as the terminal is, or `width` columns where it is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, highlight=False)


def progress(line: str) -> None:
    """Write over the line of progress, "" to clear it; nothing where nobody is looking."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", err=True, nl=False)
