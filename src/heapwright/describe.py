"""What an allocator says of itself: its docstring, read into parts. Nothing is imported or executed for it.

A docstring begins with the idea, in one line. Blank lines part what follows: paragraphs, pictures (indented), and

    Source: whose it is, where it is told, and when.

    Invariants
        I1  one sentence each

    Vital statistics: OVERHEAD, smallest block BYTES, alignment BYTES; COSTS; WHAT GOES BACK. Anything more.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from heapwright.allocator import AllocatorError, find
from heapwright.allocators import ALLOCATORS

YEAR = re.compile(r"\b(?:19[4-9]|20[0-9])\d\b")
AUTHOR = re.compile(r"(?:[A-Z]\.[- ]?)+([A-Z][\w'-]+)")
INVARIANT = re.compile(r"([A-Z]{1,3}\d+)\s+(\S.*)", re.S)
VITALS = re.compile(
    r"Vital statistics: (?:header |overhead )?(?P<overhead>.+?), smallest (?:[a-z]+ )??(?P<smallest>(?:\d|one ).*?)"
    r"(?: bytes)?, alignment (?P<alignment>.+?)(?: bytes)?; (?P<costs>.+); (?P<returned>[^;]+)\."
)


COLUMNS = (
    "allocator",
    "idea",
    "source",
    "overhead",
    "smallest",
    "alloc and dealloc",
    "threads",
    "back to the kernel",
)


class Kind(Enum):
    PARAGRAPH = "paragraph"
    PICTURE = "picture"
    SOURCE = "source"
    INVARIANTS = "invariants"
    VITALS = "vital statistics"


WORDS = {
    "Source: ": Kind.SOURCE,
    "Sources: ": Kind.SOURCE,
    "Invariants\n": Kind.INVARIANTS,
    "Vital statistics: ": Kind.VITALS,
}


class Part(NamedTuple):
    """What stands between two blank lines."""

    kind: Kind
    text: str


class Invariant(NamedTuple):
    name: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.name} {self.sentence}"


class Vitals(NamedTuple):
    """The vital statistics; empty strings where a docstring does not give them in their form."""

    overhead: str = ""
    smallest: str = ""
    alignment: str = ""
    costs: str = ""
    returned: str = ""


@dataclass(frozen=True)
class Description:
    """One allocator: what the table says of it, and its docstring part by part."""

    name: str
    path: Path
    idea: str
    year: str
    authors: str
    source: str
    threads: str
    vitals: Vitals
    invariants: tuple[Invariant, ...]
    parts: tuple[Part, ...]

    @property
    def pictures(self) -> list[str]:
        return [part.text for part in self.parts if part.kind is Kind.PICTURE]

    @property
    def row(self) -> tuple[str, ...]:
        """What the table says, column by column."""
        overhead, smallest, _, costs, returned = self.vitals
        source = f"{self.authors} {self.year}".strip()
        return self.name, self.idea, source, overhead, smallest, costs, self.threads, returned

    def as_dict(self) -> dict[str, Any]:
        """The facts, in plain values."""
        facts = {key: getattr(self, key) for key in ("name", "idea", "year", "authors", "source")}
        return {**facts, **self.vitals._asdict(), "threads": self.threads}


def describe_all() -> list[Description]:
    """The allocators that there are, in teaching order."""
    return [describe(name) for name in ALLOCATORS]


def describe(name: str) -> Description:
    """An allocator by name or path."""
    return read(find(name, is_layer=False))


def companions(description: Description) -> list[Description]:
    """The modules that an allocator is divided into, such as `dlmalloc_trees`."""
    paths = sorted(description.path.parent.glob(f"{description.name}_*.py"))
    others = [path for path in paths if path.stem not in ALLOCATORS]
    return [read(path) for path in others]


def read(path: Path) -> Description:
    tree = parsed(path)
    idea, *blocks = paragraphs(ast.get_docstring(tree) or "")
    parts = tuple(map(part_of, blocks))
    source = plain(text_of(parts, Kind.SOURCE).partition(": ")[2])
    year = YEAR.search(source)
    return Description(
        name=path.stem,
        path=path,
        idea=plain(idea),
        year=year[0] if year else "",
        authors=authors_of(source),
        source=source,
        threads="its own" if says_threads(tree) else "one lock",
        vitals=vitals_of(text_of(parts, Kind.VITALS)),
        invariants=tuple(invariants_among(parts)),
        parts=parts,
    )


def parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(), str(path))
    except SyntaxError as error:
        raise AllocatorError(f"{path}:{error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise AllocatorError(f"{path} cannot be read: {error}") from error


# --- parts


def paragraphs(docstring: str) -> list[str]:
    """The blocks between blank lines; a picture's own blank lines do not divide it."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", docstring):
        if blocks and is_indented(block) and is_indented(blocks[-1]):
            blocks[-1] += f"\n\n{block}"
        else:
            blocks.append(block)
    return blocks


def is_indented(block: str) -> bool:
    return all(line.startswith("  ") or not line for line in block.splitlines())


def part_of(block: str) -> Part:
    if is_indented(block):
        return Part(Kind.PICTURE, block)
    return Part(next((kind for word, kind in WORDS.items() if block.startswith(word)), Kind.PARAGRAPH), block)


def text_of(parts: Iterable[Part], kind: Kind) -> str:
    return next((part.text for part in parts if part.kind is kind), "")


def sentences(text: str) -> list[str]:
    """The first sentence of a paragraph, and all the others."""
    return re.split(r"(?<=\.)\s", text, maxsplit=1)


def plain(text: str) -> str:
    return " ".join(text.split())


# --- facts


def vitals_of(paragraph: str) -> Vitals:
    found = VITALS.fullmatch(plain(sentences(paragraph)[0]))
    return Vitals(**found.groupdict()) if found else Vitals()


def invariants_in(docstring: str) -> list[Invariant]:
    """The numbered invariants that a docstring promises."""
    return invariants_among(map(part_of, paragraphs(inspect.cleandoc(docstring))))


def invariants_among(parts: Iterable[Part]) -> list[Invariant]:
    lines = re.split(r"\n(?=    \S)", text_of(parts, Kind.INVARIANTS))[1:]
    return [found for line in lines if (found := invariant(line))]


def invariant(text: str) -> Invariant | None:
    """A numbered sentence, such as `I3  no two free blocks touch`."""
    found = INVARIANT.fullmatch(text.strip())
    return Invariant(found[1], plain(found[2])) if found else None


def authors_of(source: str) -> str:
    """The surnames in the first work that names any; of more than two, the first."""
    names = next(filter(None, (AUTHOR.findall(work) for work in source.split(";"))), [])
    return f"{names[0]} et al." if len(names) > 2 else ", ".join(names)


def says_threads(tree: ast.Module) -> bool:
    """Whether THREADS is "own" in a module; any other is put under one lock."""
    names = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    said = names.get("THREADS")
    return isinstance(said, ast.Constant) and said.value == "own"
