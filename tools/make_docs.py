"""The pages of docs/allocators, made from docstrings: `make_docs.py`; with `--check`, whether all are current."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from heapwright import allocators
from heapwright.describe import COLUMNS, Description, Kind, Part, companions, describe_all

FOLDER = Path("docs", "allocators")
SOURCES = "../../src/heapwright/allocators"
MADE = "<!-- Made by tools/make_docs.py from the docstrings: change those. -->"
HEAD = f"""{MADE}

# The allocators

The allocators in teaching order, the simplest first. Overhead is what a live block costs beyond its size, and smallest
is what a block of size 0 takes, in bytes. An allocator with threads of its own lets many of them work at the same time.
Compiled, any other runs under one lock. `heapwright allocators` prints this table, and `heapwright allocators kr` a
page.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""


def problems(root: Path) -> list[str]:
    """The pages that are not current, and those that no allocator has."""
    wanted, found = pages(), {path.name: path.read_text() for path in (root / FOLDER).glob("*.md")}
    stale = [name for name, text in wanted.items() if text != found.get(name)]
    return [f"{FOLDER / name} is not current: run tools/make_docs.py" for name in stale] + [
        f"{FOLDER / name} belongs to no allocator" for name in found if name not in wanted
    ]


def make(root: Path) -> None:
    wanted = pages()
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (root / FOLDER / name).write_text(text)
    for path in (root / FOLDER).glob("*.md"):
        if path.name not in wanted:
            path.unlink()


# --- pages


def pages() -> dict[str, str]:
    every = describe_all()
    table = HEAD + "".join(map(row, every))
    return {"README.md": table, **{f"{each.name}.md": page(each) for each in every}}


def row(each: Description) -> str:
    _, *cells = each.row
    return f"| {' | '.join([f'[`{each.name}`]({each.name}.md)', *map(escaped, cells)])} |\n"


def page(each: Description) -> str:
    """A docstring, then those of the modules that the allocator is divided into."""
    modules = [line for module in companions(each) for line in section(module, f"## `{module.name}`")]
    lines = "\n".join(f"* {name}: {escaped(value)}" for name, value in each.vitals.lines())
    vitals = f"**Vital statistics**, the constants of the module:\n\n{lines}"
    back = "[All allocators](README.md)"
    return "\n\n".join([MADE, *section(each, f"# `{each.name}`"), vitals, *modules, back]) + "\n"


def section(each: Description, heading: str) -> Iterator[str]:
    yield heading
    yield f"{escaped(each.idea)} [Its code]({SOURCES}/{each.path.relative_to(Path(allocators.__file__).parent)})."
    for part in each.parts:
        yield markdown(part, each)


def markdown(part: Part, each: Description) -> str:
    if part.kind is Kind.PICTURE:
        return f"```text\n{part.text}\n```"
    if part.kind is Kind.INVARIANTS:
        lines = (f"* **{rule.name}** {escaped(rule.sentence)}" for rule in each.invariants)
        return "**Invariants**, each asserted by `check` in the same words:\n\n" + "\n".join(lines)
    return re.sub(r"^(Sources?):", r"**\1:**", escaped(part.text))


def escaped(text: str) -> str:
    """Outside backquotes, what Markdown would take for markup."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([*_<|\[\]\\])", r"\\\1", piece) for piece in pieces)


if __name__ == "__main__":
    repository = Path(__file__).resolve().parent.parent
    if "--check" in sys.argv:
        sys.exit("\n".join(problems(repository)) or 0)
    make(repository)
