"""Descriptions of allocators, read from their docstrings and constants. Nothing is imported or executed.

A docstring begins with the idea, in one line. Blank lines separate the parts: paragraphs, pictures (indented), and

    Source: the authors, the publication, the year.

    Invariants
        I1  one sentence each

The vital statistics are constants of the module: see `Vitals`.
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

from heapwright.allocator import PACKAGE_FILE, find, name_of
from heapwright.allocators import ALLOCATORS
from heapwright.errors import AllocatorError

YEAR = re.compile(r"\b(?:19[4-9]|20[0-9])\d\b")
AUTHOR = re.compile(r"(?:[A-Z]\.[- ]?)+([A-Z][\w'-]+)")
INVARIANT = re.compile(r"([A-Z]{1,3}\d+)\s+(\S.*)", re.S)
COLUMNS = (
    "allocator",
    "idea",
    "source",
    "overhead",
    "smallest",
    "alloc",
    "dealloc",
    "threads",
    "gives back",
)


class Kind(Enum):
    PARAGRAPH = "paragraph"
    PICTURE = "picture"
    SOURCE = "source"
    INVARIANTS = "invariants"


WORDS = {
    "Source: ": Kind.SOURCE,
    "Sources: ": Kind.SOURCE,
    "Invariants\n": Kind.INVARIANTS,
}


class Part(NamedTuple):
    """The text between two blank lines of a docstring."""

    kind: Kind
    text: str


class Invariant(NamedTuple):
    name: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.name} {self.sentence}"


class Vitals(NamedTuple):
    """The vital statistics, each a constant of the module; None or an empty string if the module lacks it.

    `overhead` is the minimum number of bytes that a block costs beyond its size, `smallest` the number of bytes that a
    block of size 0 takes, and `align` the alignment of every block.
    """

    overhead: int | None = None  # OVERHEAD
    overhead_elsewhere: str = ""  # OVERHEAD_ELSEWHERE: what a block costs outside its own bytes
    smallest: int | None = None  # SMALLEST
    align: int | None = None  # ALIGN
    alloc_cost: str = ""  # ALLOC_COST
    dealloc_cost: str = ""  # DEALLOC_COST
    gives_back: str = ""  # GIVES_BACK: which memory returns to the kernel, and when

    def lines(self) -> list[tuple[str, str]]:
        """The name and value of each known statistic."""
        known = {
            "overhead": self.overhead_in_words,
            "smallest block": "" if self.smallest is None else f"{self.smallest} bytes",
            "alignment": "" if self.align is None else f"{self.align} bytes",
            "alloc": self.alloc_cost,
            "dealloc": self.dealloc_cost,
            "gives back": self.gives_back,
        }
        return [(name, value) for name, value in known.items() if value]

    @property
    def overhead_in_words(self) -> str:
        """The overhead of a block in its own bytes and elsewhere."""
        own = "" if self.overhead is None else "none" if self.overhead == 0 else f"{self.overhead} bytes"
        return f"{own}, {self.overhead_elsewhere}" if self.overhead_elsewhere else own


@dataclass(frozen=True)
class Description:
    """One allocator: its row of the table, and its docstring part by part."""

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
        """The allocator's row of the table."""
        vitals, source = self.vitals, f"{self.authors} {self.year}".strip()
        smallest = "" if vitals.smallest is None else str(vitals.smallest)
        costs = vitals.alloc_cost, vitals.dealloc_cost
        return self.name, self.idea, source, vitals.overhead_in_words, smallest, *costs, self.threads, vitals.gives_back

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values."""
        facts = {key: getattr(self, key) for key in ("name", "idea", "year", "authors", "source")}
        return {**facts, **self.vitals._asdict(), "threads": self.threads}


def describe_all() -> list[Description]:
    """All allocators, in teaching order."""
    return [describe(name) for name in ALLOCATORS]


def describe(name: str) -> Description:
    """Describe an allocator given by name or path."""
    return read(find(name, is_layer=False))


def companions(description: Description) -> list[Description]:
    """The further modules of an allocator: the rooms of its package, or sibling files such as `NAME_trees.py`."""
    pattern = "[a-z]*.py" if description.path.name == PACKAGE_FILE else f"{description.name}_*.py"
    paths = sorted(description.path.parent.glob(pattern))
    return [read(path) for path in paths if path.stem not in ALLOCATORS]


def read(path: Path) -> Description:
    tree = parsed(path)
    idea, *blocks = paragraphs(ast.get_docstring(tree) or "")
    parts, constants = tuple(map(part_of, blocks)), constants_of(tree)
    source = plain(text_of(parts, Kind.SOURCE).partition(": ")[2])
    year = YEAR.search(source)
    return Description(
        name=name_of(path),
        path=path,
        idea=plain(idea),
        year=year[0] if year else "",
        authors=authors_of(source),
        source=source,
        threads="its own" if constants.get("THREADS") == "own" else "one lock",
        vitals=Vitals(**{name: constants[name.upper()] for name in Vitals._fields if name.upper() in constants}),
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
    """The blocks between blank lines. A blank line inside a picture does not divide it."""
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


def plain(text: str) -> str:
    return " ".join(text.split())


# --- facts


def invariants_in(docstring: str) -> list[Invariant]:
    """The numbered invariants in a docstring."""
    return invariants_among(map(part_of, paragraphs(inspect.cleandoc(docstring))))


def invariants_among(parts: Iterable[Part]) -> list[Invariant]:
    lines = re.split(r"\n(?=    \S)", text_of(parts, Kind.INVARIANTS))[1:]
    return [found for line in lines if (found := invariant(line))]


def invariant(text: str) -> Invariant | None:
    """A numbered sentence, such as `I3  no two free blocks touch`."""
    found = INVARIANT.fullmatch(text.strip())
    return Invariant(found[1], plain(found[2])) if found else None


def authors_of(source: str) -> str:
    """The surnames in the first work that names authors; for more than two, the first one and `et al.`"""
    names = next(filter(None, (AUTHOR.findall(work) for work in source.split(";"))), [])
    return f"{names[0]} et al." if len(names) > 2 else ", ".join(names)


def constants_of(tree: ast.Module) -> dict[str, Any]:
    """The constants of a module that are written as a number or a string."""
    plain_ones = (node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))
    return {
        ast.unparse(node.targets[0]): node.value.value for node in plain_ones if isinstance(node.value, ast.Constant)
    }
