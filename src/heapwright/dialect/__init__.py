"""The linter of the dialect: each violation of docs/dialect.md, with its line and what to do instead.

    python -m heapwright.dialect FILE.py FOLDER/ ...

It reads the source and never runs it; a user's file must pass before it is compiled. `check`, and code that only
`check` uses, is only interpreted and may be any Python. D7 is advice. D8, and D10 for values that a call returns, are
left to the reader, the conformance suite and the compiler.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from heapwright.dialect.rules import everything
from heapwright.dialect.source import PACKAGE, Program
from heapwright.errors import UserError


class Violation(NamedTuple):
    """A line that breaks a rule."""

    path: Path
    line: int
    rule: str
    sentence: str

    @property
    def is_advice(self) -> bool:
        return self.rule == "D7"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}{' (advice)' if self.is_advice else ''}: {self.sentence}"


class DialectError(UserError):
    """A file breaks a rule; the text, one line, names the place, the rule and what to do instead."""


def lint(path: Path | str) -> list[Violation]:
    """The violations in the source of an allocator, a layer or a dialect module, by line."""
    path = Path(path)
    try:
        program = Program(path)
    except SyntaxError as error:
        return [Violation(path, error.lineno or 1, "D1", f"this is not Python: {error.msg}")]
    found = {
        Violation(path, getattr(node, "lineno", 1), rule, sentence) for node, rule, sentence in everything(program)
    }
    return sorted(found, key=lambda each: (each.line, each.rule, each.sentence))


def refused(path: Path) -> list[Violation]:
    """The violations in a file and the siblings that it imports, without advice.

    heapwright's own files are not checked here: its tests do that.
    """
    if path.resolve().is_relative_to(PACKAGE):
        return []
    return [each for part in own_sources(path) for each in lint(part) if not each.is_advice]


def require(path: Path) -> None:
    """Raise DialectError for the first violation in a file or in a sibling that it imports."""
    found = refused(path)
    if found:
        more = f" (and {len(found) - 1} more: heapwright check {path} --only lint)" if found[1:] else ""
        raise DialectError(f"{found[0]}{more}")


def own_sources(path: Path) -> list[Path]:
    """A file, then the siblings that it imports from."""
    try:
        sources = Program(path).sources
    except SyntaxError:
        return [path]
    return [each for each in sources if not each.is_relative_to(PACKAGE)]
