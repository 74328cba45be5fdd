"""Following a page of the documents to the letter: its files, its commands, its Python sessions, their output.

A block below a line that ends in "`NAME.py`:" is that file. A block of shell has commands behind `$`, each with
its output; `...` in it stands for anything, and what stands behind the debugger's prompt is typed. A `pycon` block is a
session of a doctest.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import STDOUT, CompletedProcess
from typing import Any, NamedTuple

BLOCK = re.compile(r"(?:^(?P<above>[^\n]*)\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```", re.S | re.M)
FILE = re.compile(r"`([\w/-]+\.\w+)`:$")
PROMPT = re.compile(r"^(\((?:Pdb|heapwright)\) )(.*)\n", re.M)


class Block(NamedTuple):
    language: str
    text: str
    file: str  # the name that the line above gives, or ""


class Command(NamedTuple):
    """A command line of a page, what is typed while it runs, and what it should print."""

    line: str
    typed: str
    shown: str


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text()):
        name = FILE.search(found["above"] or "")
        yield Block(found["language"], found["text"], name[1] if name else "")


def commands(block: str) -> list[Command]:
    parts = re.split(r"^\$ (.*)\n", block.replace("\\\n", ""), flags=re.M)[1:]
    return [command(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def command(line: str, shown: str) -> Command:
    typed = "".join(f"{found[2]}\n" for found in PROMPT.finditer(shown))
    return Command(line, typed, PROMPT.sub(r"\1", shown))


def follow(page: Path, folder: Path, run: Callable[..., CompletedProcess[str]]) -> list[str]:
    """Do what a page says, in a folder; what came out otherwise than it shows."""
    names: dict[str, Any] = {}
    wrong = []
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.language == "pycon":
            wrong += session(block.text, names, page)
        elif not block.language:
            wrong += [found for each in commands(block.text) if (found := differs(each, folder, run))]
    return wrong


def session(text: str, names: dict[str, Any], page: Path) -> list[str]:
    """Run a doctest with the names of those before it."""
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    test.globs = names
    said: list[str] = []
    runner = doctest.DocTestRunner(Checker(), verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=said.append, clear_globs=False)
    return said


class Checker(doctest.OutputChecker):
    """Takes the name that doctest gives its input for the one that a Python prompt has."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, re.sub(r"<doctest [^>]*>", "<stdin>", got), optionflags)


def differs(each: Command, folder: Path, run: Callable[..., CompletedProcess[str]]) -> str:
    """What a command printed, if that is not as shown."""
    line, _, target = each.line.partition(" > ")
    done = run(*shlex.split(line), cwd=folder, stderr=STDOUT, input=each.typed, PYTHONUNBUFFERED="1")
    if target:
        (folder / target).write_text(done.stdout)
        return ""
    return "" if agrees(each.shown, done.stdout) else f"$ {each.line}\n{done.stdout}\ninstead of\n{each.shown}"


def agrees(shown: str, printed: str) -> bool:
    """Whether the output is as shown, but for what `...` stands for, empty lines, and blanks at the ends of lines."""
    pattern = ".*".join(map(re.escape, trimmed(shown).split("...")))
    return re.fullmatch(pattern, trimmed(printed), re.S) is not None


def trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())
