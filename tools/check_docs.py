"""The documents tell of every command, allocator and layer, and what they say of commands and invariants is true."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from heapwright.allocators import ALLOCATORS
from heapwright.cli import COMMANDS, group
from heapwright.layers import LAYERS

NAMES = (*COMMANDS, *ALLOCATORS, *LAYERS)
INVARIANT = re.compile(r"\s*([A-Z]{1,3}\d+\s+\S.*)", re.S)


def problems(root: Path) -> list[str]:
    texts = {str(path.relative_to(root)): path.read_text() for path in documents(root)}
    said = re.compile(rf"(?:`|heapwright |-a )({'|'.join(NAMES)})\b")
    missing = set(NAMES) - set(said.findall("\n".join(texts.values())))
    found = [f"docs: nothing is said of `{name}`" for name in sorted(missing)]
    for where, text in texts.items():
        found += [f"{where}: {line}: {why}" for line in command_lines(text) if (why := refusal(line))]
    paths = (root / "src" / "heapwright" / "allocators" / f"{name}.py" for name in ALLOCATORS)
    return [*found, *(each for path in paths if path.is_file() for each in disagreements(path))]


def documents(root: Path) -> list[Path]:
    return [path for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if path.is_file()]


# --- commands


def command_lines(text: str) -> Iterator[str]:
    """Each `heapwright ...` in a code block or between backquotes, without what a shell does around it."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)
    code = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    code += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    for part in (part for line in code for part in re.split(r"&&|\||;|\s#\s", line)):
        found = re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(heapwright( [^\n]*)?)$", part)
        if found:
            yield found[1].strip()


def refusal(line: str) -> str:
    """Why click would refuse a command line; "" if it would not."""
    _, *words = shlex.split(line.replace("…", "").replace("...", ""))
    if not words or words[0].startswith("-"):
        return ""
    name, *rest = words
    if name not in COMMANDS or find_spec(f"heapwright.cli.{name}") is None:
        return f"there is no command '{name}'"
    context = click.Context(group)
    command = group.get_command(context, name)
    assert command is not None
    try:
        _, left, _ = command.make_parser(click.Context(command, parent=context)).parse_args(rest)
    except click.UsageError as error:
        return error.format_message()
    return f"no option {left[0]}" if left and left[0].startswith("-") else ""


# --- invariants


def disagreements(path: Path) -> list[str]:
    """Invariants that only the docstring of an allocator has, or only its `check`."""
    said = {plain(each) for each in re.split(r"\n(?=    \S)", section(path)) if INVARIANT.match(each)}
    siblings = [part for part in path.parent.glob(f"{path.stem}_*.py") if part.stem not in ALLOCATORS]
    parts = [ast.parse(part.read_text()) for part in (path, *siblings)]
    texts = (node.value for part in parts for node in ast.walk(part) if isinstance(node, ast.Constant))
    asserted = {plain(text) for text in texts if isinstance(text, str) and INVARIANT.fullmatch(text)}
    return [f"{path.name}: said, not asserted: {each}" for each in sorted(said - asserted)] + [
        f"{path.name}: asserted, not said: {each}" for each in sorted(asserted - said)
    ]


def section(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return "\n" + text.partition("\nInvariants\n")[2].partition("\n\n")[0]


def plain(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).resolve().parent.parent)) or 0)
