"""The pages on the Python API, on user programs and on debugging, followed to the letter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from pages import agrees, blocks, commands, follow

PAGES = ("api", "debugging", "guarded", "hardened", "user-programs")
PROGRAMS = {"heapwright": [sys.executable, "-m", "heapwright"], "python": [sys.executable], "sed": ["sed"]}


def run(name, *arguments, cwd, **options):
    known = {key: options.pop(key) for key in ("stderr", "input")}
    command = [*PROGRAMS[name], *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, cwd=cwd, env={**os.environ, **options}, text=True,
                          timeout=110, check=False, **known)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", [*PAGES, "meshed"])
def test_a_page_is_true(name, root, tmp_path, monkeypatch):
    shutil.copytree(root / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    assert follow(root / "docs" / f"{name}.md", tmp_path, run) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_something(name, root):
    found = list(blocks(root / "docs" / f"{name}.md"))
    assert any(block.language == "pycon" for block in found)
    assert sum(block.text.count("\n>>> ") + len(commands(block.text)) for block in found) > 10


def test_what_is_not_so_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Save this as `a.py`:\n\n```python\nprint(input('(heapwright) '))\n```\n\n"
        "```\n$ python a.py\n(heapwright) typed\ntyped\n```\n\n"
        "```\n$ python a.py\n(heapwright) typed\nother\n```\n\n"
        "```pycon\n>>> 1 + 1\n2\n>>> 1 + 1\n3\n```\n"
    )
    wrong = follow(page, tmp_path, run)
    assert len(wrong) == 2
    assert "instead of\n(heapwright) other" in wrong[0] and "Expected:\n    3" in wrong[1]


def test_the_rule_of_dots():
    assert agrees("a\n...\nd 7 ... e\n", "a\nb\n\nc\nd 7 8 9 e   \n")
    assert not agrees("a\n...\nd", "a\nb\nc")
    assert not agrees("a.c", "abc")


def test_the_pictures_are_current(tool, root, tmp_path):
    check = tool("make_pictures")
    assert check.problems(root) == []
    assert len(check.problems(tmp_path)) == len(check.pictures())
