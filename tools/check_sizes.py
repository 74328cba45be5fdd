"""Budgets: files under 400 lines, C too, functions of at most 60, and half of them under 10.

An allocator's `__init__` may have 600 lines: it tells a story.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

MAX_FILE, MAX_FUNCTION, MAX_MEDIAN = 399, 60, 9
FOLDERS = ("src", "tools", "tests", "examples", "bench")
SUFFIXES = (".py", ".c")
TOOL = 99
STORY = 599


def problems(root: Path) -> list[str]:
    """A table of offenders, the longest first: lines, allowed, where."""
    rows = sorted(offenders(root), reverse=True)
    return [f"{lines:>6} > {allowed:<4} {where}" for lines, allowed, where in rows]


def offenders(root: Path) -> Iterator[tuple[float, int, str]]:
    all_sizes: list[int] = []
    for path in sources(root):
        text, where = path.read_text(), path.relative_to(root)
        lines, allowed = text.count("\n"), budget(where)
        if lines > allowed:
            yield lines, allowed, f"{where}"
        tree = ast.parse(text if path.suffix == ".py" else "", str(path))
        sizes = {f"{where}:{line} {name}": size for name, line, size in functions(tree)}
        yield from ((size, MAX_FUNCTION, place) for place, size in sizes.items() if size > MAX_FUNCTION)
        all_sizes += sizes.values()
    middle = median(all_sizes or [0])
    if middle > MAX_MEDIAN:
        yield middle, MAX_MEDIAN, "the median function"


def budget(where: Path) -> int:
    if where.match("allocators/*/__init__.py"):
        return STORY
    return TOOL if where.parts[0] == "tools" else MAX_FILE


def sources(root: Path) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)


def functions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """The name, line and number of lines of each function, methods included."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).resolve().parent.parent)) or 0)
