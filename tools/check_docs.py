"""The documents tell of every command, allocator and layer, and the commands that they show are right.

Of each other system that they name, docs/sources.md says which version is meant.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from heapwright.allocators import ALLOCATORS
from heapwright.cli.commands import COMMANDS, group
from heapwright.layers import LAYERS

NAMES = (*COMMANDS, *ALLOCATORS, *LAYERS)
SYSTEMS = (
    *(
        "glibc",
        "musl",
        "bionic",
        "dlmalloc",
        "Hoard",
        "TLSF",
        "jemalloc",
        "mimalloc",
        "tcmalloc",
        "snmalloc",
        "rpmalloc",
    ),
    *("Linux", "FreeBSD", "Solaris", "illumos", "xv6", "xv6rs", "Rust", "hashbrown", "CPython", "PyPy"),
)
SOURCES = "docs/sources.md"
OUTSIDE_QUOTES = re.compile(r"(?:&&|\||;|\s#\s)(?=(?:[^']*'[^']*')*[^']*$)")  # what ends a command
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.S | re.M)


def problems(root: Path) -> list[str]:
    texts = {str(path.relative_to(root)): path.read_text() for path in documents(root)}
    said = re.compile(rf"(?:`|heapwright |-a )({'|'.join(NAMES)})\b")
    missing = set(NAMES) - set(said.findall("\n".join(texts.values())))
    found = [f"docs: nothing is said of `{name}`" for name in sorted(missing)]
    found += [f"{SOURCES}: no version of {name} is named" for name in unversioned(texts)]
    for where, text in texts.items():
        found += [f"{where}: {line}: {why}" for line in command_lines(text) if (why := refusal(line))]
    return found


def unversioned(texts: dict[str, str]) -> list[str]:
    """The systems that a document names outside of code, and that have no row with a number in the table."""
    versions = dict(re.findall(r"^\| (\w+) \| (.*?) \|", texts.get(SOURCES, ""), re.M))
    words = {word for text in texts.values() for word in re.findall(r"\w+", CODE.sub("", text))}
    return [name for name in SYSTEMS if name in words and not re.search(r"\d", versions.get(name, ""))]


def documents(root: Path) -> list[Path]:
    return [path for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if path.is_file()]


def command_lines(text: str) -> Iterator[str]:
    """Each `heapwright ...` in a code block or between backquotes, without what a shell does around it."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)
    code = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    code += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    for part in (part for line in code for part in OUTSIDE_QUOTES.split(line)):
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
    if isinstance(command, click.Group) and rest:
        command, *rest = command.get_command(context, rest[0]), *rest[1:]
    if command is None:
        return f"there is no command '{' '.join(words[:2])}'"
    try:
        _, left, _ = command.make_parser(click.Context(command, parent=context)).parse_args(rest)
    except click.UsageError as error:
        return error.format_message()
    return f"there is no place for '{left[0]}'" if left else ""


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).resolve().parent.parent)) or 0)
