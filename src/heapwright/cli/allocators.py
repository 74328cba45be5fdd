"""`heapwright allocators`: what allocators there are, and what each says of itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import console

if TYPE_CHECKING:
    from rich.text import Text

    from heapwright.describe import Description, Part

WIDTH = 150  # columns, where nobody says how many there are
HEADINGS = r"(?m)^(Invariants$|Vital statistics:|Sources?:|    [A-Z]{1,3}\d+ )"
SHARES = (0, 4, 2, 2, 0, 4, 0, 3)  # of each column in the room that is left


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the allocators in teaching order; or show all that NAME, a file of yours too, says of itself.

    Overhead is what a live block costs; the smallest block is in bytes. An allocator with threads of its own lets
    many of them work at a time; compiled, any other is put under one lock.

    \b
    heapwright allocators
    heapwright allocators kr
    heapwright allocators mine.py --json
    """
    from heapwright.describe import companions, describe, describe_all

    if name is None:
        every = describe_all()
        if as_json:
            click.echo(json.dumps([each.as_dict() for each in every], indent=2))
        else:
            table(every)
        return
    description = describe(name)
    pages = [description, *companions(description)]
    if as_json:
        click.echo(json.dumps(as_dict(description, pages), indent=2))
    else:
        for each in pages:
            show(each)


# --- all


def table(every: list[Description]) -> None:
    from rich.table import Table

    from heapwright.describe import COLUMNS

    grid = Table(box=None, expand=True, pad_edge=False, header_style="bold")
    for name, share in zip(COLUMNS, SHARES, strict=True):
        grid.add_column(name, ratio=share or None, no_wrap=not share, min_width=10 if share else None)
    for each in every:
        grid.add_row(*each.row)
        grid.add_row()
    console(WIDTH).print(grid)


# --- one


def as_dict(description: Description, pages: list[Description]) -> dict[str, Any]:
    """The facts, the invariants by name, and the pictures of all its modules."""
    return {
        **description.as_dict(),
        "invariants": {each.name: each.sentence for each in description.invariants},
        "pictures": [picture for page in pages for picture in page.pictures],
    }


def show(description: Description) -> None:
    """The docstring, its headings and names set off."""
    from rich.text import Text

    out = console(WIDTH)
    out.print(Text.assemble((description.name, "bold"), f": {description.idea}"), soft_wrap=True)
    for part in description.parts:
        out.print()
        out.print(drawn(part), soft_wrap=True)
    out.print()


def drawn(part: Part) -> Text:
    from rich.text import Text

    from heapwright.describe import Kind

    text = Text(part.text, "cyan" if part.kind is Kind.PICTURE else "")
    text.highlight_regex(HEADINGS, "bold")
    return text
