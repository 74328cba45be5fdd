"""The page on writing an allocator, followed to the letter: its files, its commands, its output.

A block of Python that defines `alloc` is the whole file; any other replaces what it defines or imports anew. For blocks
of shell see the helper `pages`.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import STDOUT, CompletedProcess

import pytest
from pages import agrees, blocks, commands

pytest.importorskip("numba")
ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "writing-an-allocator.md"


def edited(file: str, block: str) -> str:
    """The file as a reader has it after this block."""
    new = ast.parse(block).body
    if any(name_of(node) == "alloc" for node in new):
        return block
    lines, starts = file.splitlines(), {name_of(node): node for node in ast.parse(file).body}
    for node in sorted(reversed(new), key=lambda node: -position(node, starts)):
        text = block.splitlines()[node.lineno - 1 : node.end_lineno]
        old = starts.get(name_of(node))
        if old:
            lines[old.lineno - 1 : old.end_lineno] = text
        else:
            lines[position(node, starts) : position(node, starts)] = text
    return "\n".join(lines) + "\n"


def position(node: ast.stmt, starts: dict[str, ast.stmt]) -> int:
    """The line where a statement stands, or where a new constant goes: behind the others."""
    old = starts.get(name_of(node))
    return old.lineno if old else max(old.end_lineno or 0 for old in starts.values() if isinstance(old, ast.Assign))


def name_of(node: ast.stmt) -> str:
    """What a statement defines: a function, a constant, what comes from a module, or the docstring."""
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return node.name
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case ast.ImportFrom():
            return f"from {node.module}"
        case _:
            return "docstring"


@pytest.mark.long
@pytest.mark.timeout(300)  # it compiles four libraries, unless the cache has them
def test_the_page_is_true(heapwright: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for language, text, _ in blocks(PAGE):
        if language == "python":
            file.write_text(edited(file.read_text() if file.exists() else "", text))
            continue
        for line, _, shown in commands(text):
            name, *arguments = shlex.split(line)
            assert name == "heapwright", line
            done = heapwright(*arguments, cwd=tmp_path, stderr=STDOUT, PYTHONUNBUFFERED="1")
            assert done.returncode == 0 or "killed by a fault" in shown, f"$ {line}\n{done.stdout}"
            assert agrees(shown, done.stdout), f"$ {line}\n{done.stdout}\ninstead of\n{shown}"
    assert file.read_text() == (ROOT / "examples" / "powers_of_two.py").read_text()


def test_every_step_is_there() -> None:
    said = [line.split()[1] for each in blocks(PAGE) if not each.language for line, *_ in commands(each.text)]
    assert set(said) >= {"simulate", "check", "run", "record", "compare", "build"}
