"""`heapwright allocators`: the list of allocators, and a page about each."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import console

if TYPE_CHECKING:
    from rich.text import Text

    from heapwright.describe import Description, Part

WIDTH = 150  # columns, if the terminal does not give a width
MIN_WIDTH = 140  # of the table; on a narrower terminal each allocator gets a paragraph
HEAD_WIDTH = 18
HEADINGS = r"(?m)^(Invariants$|Vital statistics$|Sources?:|    [A-Z]{1,3}\d+ )"
SHARES = (0, 4, 2, 2, 0, 3, 3, 0, 3)  # of each column in the remaining width


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the allocators, from the simplest to the most complex, or explain the one called NAME.

    \b
    heapwright allocators kr

    An allocator's page shows its idea, a picture of its blocks, its invariants and its costs. NAME may also be a file
    or a folder of your own. In the table, `overhead` is what a live block costs beyond its size, in bytes, and
    `smallest` is what a block of size 0 takes. An allocator that does not support threads itself runs under one lock
    when it is compiled.
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
    """Print a row for each allocator, or a paragraph if the terminal is too narrow."""
    from rich.table import Table
    from rich.text import Text

    from heapwright.describe import COLUMNS

    out = console(WIDTH)
    if out.width < MIN_WIDTH:
        click.echo("\n\n".join(paragraph(each, out.width) for each in every))
        return
    grid = Table(box=None, expand=True, pad_edge=False, header_style="bold")
    for name, share in zip(COLUMNS, SHARES, strict=True):
        grid.add_column(name, ratio=share or None, min_width=10 if share else None, overflow="fold")
    for each in every:
        grid.add_row(*map(Text, each.row))
        grid.add_row()
    out.print(grid)


def paragraph(description: Description, width: int) -> str:
    """One allocator's row of the table as lines, one or more for each column."""
    from heapwright.describe import COLUMNS

    name, idea, *cells = description.row
    lines = textwrap.wrap(f"{name}: {idea}", width)
    for head, cell in zip(COLUMNS[2:], cells, strict=True):
        lines += textwrap.wrap(f"{head:<{HEAD_WIDTH}} {cell}", width, subsequent_indent=" " * (HEAD_WIDTH + 1))
    return "\n".join(lines)


# --- one


def as_dict(description: Description, pages: list[Description]) -> dict[str, Any]:
    """The facts, the invariants by name, and the pictures of all its modules."""
    return {
        **description.as_dict(),
        "invariants": {each.name: each.sentence for each in description.invariants},
        "pictures": [picture for page in pages for picture in page.pictures],
    }


def show(description: Description) -> None:
    """Print the docstring with bold headings and names, then the vital statistics."""
    from rich.text import Text

    from heapwright.describe import Kind, Part

    out = console(WIDTH)
    out.print(Text.assemble((description.name, "bold"), f": {description.idea}"), soft_wrap=True)
    facts = "\n".join(f"    {name:<15} {value}" for name, value in description.vitals.lines())
    vitals = [Part(Kind.PARAGRAPH, f"Vital statistics\n{facts}")] if facts else []
    for part in (*description.parts, *vitals):
        out.print()
        out.print(drawn(part), soft_wrap=True)
    out.print()


def drawn(part: Part) -> Text:
    from rich.text import Text

    from heapwright.describe import Kind

    text = Text(part.text, "cyan" if part.kind is Kind.PICTURE else "")
    text.highlight_regex(HEADINGS, "bold")
    return text
