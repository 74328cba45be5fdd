"""The table docs/requirements.md, made from docs/requirements.toml: `make_requirements.py`.

With `--check`: whether the table is current, each row is there, and all that the rows name exists.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

DATA, PAGE = Path("docs", "requirements.toml"), Path("docs", "requirements.md")
NEEDED, KNOWN = ("what", "built", "tests"), ("what", "built", "tests", "open")
MADE = "<!-- Made by tools/make_requirements.py from requirements.toml: change that. -->\n\n"
TABLE = "| id | requirement | built in | shown by | state |\n|---|---|---|---|---|\n"


def problems(root: Path) -> list[str]:
    head, groups, rows = read(root)
    wanted = [name for group in groups for name in names_of(group)]
    found = [f"{DATA}: {name} has no row" for name in wanted if name not in rows]
    found += [f"{DATA}: no requirement is named {name}" for name in rows if name not in wanted]
    found += [f"{DATA}: {name}: {why}" for name, row in rows.items() for why in faults(root, row)]
    if not found and (root / PAGE).read_text() != page(head, groups, rows):
        found.append(f"{PAGE} is not current: run tools/make_requirements.py")
    return found


def read(root: Path) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """The text above, the groups, and the rows by their names."""
    rows = tomllib.loads((root / DATA).read_text())
    return rows.pop("head"), rows.pop("groups"), rows


def names_of(group: dict[str, Any]) -> list[str]:
    return [f"{group['prefix']}{each}" for each in group.get("rows", range(1, group.get("last", 0) + 1))]


def faults(root: Path, row: dict[str, Any]) -> Iterator[str]:
    """What a row lacks, or names in vain."""
    yield from (f"there is no '{key}'" for key in NEEDED if not row.get(key))
    yield from (f"nobody knows '{key}'" for key in row if key not in KNOWN)
    yield from (f"there is no {name}" for name in row.get("built", ()) if not is_built(root, name))
    yield from (f"there is no {name}" for name in row.get("tests", ()) if not is_defined(root, *name.split("::")))


def is_built(root: Path, name: str) -> bool:
    """Whether a file, or a dotted name below the package, is there."""
    if "/" in name:
        return (root / name).is_file()
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path, rest = Path("src", "heapwright", *parts[:length]), ".".join(parts[length:])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if (root / file).is_file():
                return not rest or is_defined(root, str(file), rest)
    return False


def is_defined(root: Path, file: str, name: str = "") -> bool:
    """Whether a file has a function or class: a test, or a check or a scenario that a test runs."""
    return (root / file).is_file() and name in definitions(root / file)


@cache
def definitions(file: Path) -> frozenset[str]:
    return frozenset(names_in(ast.parse(file.read_text()).body))


def names_in(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
            yield from (f"{node.name}.{inner}" for inner in names_in(node.body))


def page(head: str, groups: list[dict[str, Any]], rows: dict[str, Any]) -> str:
    tables = ("".join(line(name, rows[name]) for name in names_of(group)) for group in groups)
    parts = [f"## {group['title']}\n\n{TABLE}{lines}" for group, lines in zip(groups, tables, strict=True)]
    whole = sum("open" not in row for row in rows.values())
    return MADE + f"{head}\n{whole} of {len(rows)} rows are whole.\n\n" + "\n".join(parts)


def line(name: str, row: dict[str, Any]) -> str:
    built, tests = ("<br>".join(f"`{each}`" for each in row[key]) for key in ("built", "tests"))
    return f"| {name} | {row['what']} | {built} | {tests} | {'open: ' + row['open'] if 'open' in row else 'whole'} |\n"


if __name__ == "__main__":
    repository = Path(__file__).resolve().parent.parent
    if "--check" in sys.argv:
        sys.exit("\n".join(problems(repository)) or 0)
    (repository / PAGE).write_text(page(*read(repository)))
