"""The page on C and Rust, followed to the letter in a shell, section by section."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import agrees, blocks, commands

pytest.importorskip("numba")
PAGE = Path(__file__).parent.parent.parent / "docs" / "c-and-rust.md"
SECTIONS = {text.splitlines()[0]: text for text in PAGE.read_text().split("\n## ")[1:]}
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SECONDS = 250  # some commands compile an allocator


def follow(page: Path, folder: Path) -> list[str]:
    """Write the section's files and run its commands; what they printed that is not as shown."""
    wrong = []
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
        for line, _, shown in commands(block.text) if not block.language else ():
            if line.startswith("cd "):
                folder /= line[3:]
                continue
            printed = output_of(line, folder)
            if not agrees(shown, printed):
                wrong.append(f"$ {line}\n{printed}\ninstead of\n{shown}")
    return wrong


def output_of(line: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout + (f"status {done.returncode}\n" if done.returncode else "")


@pytest.mark.long
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_true(name: str, tmp_path: Path) -> None:
    needed = ("cc", "cargo", "rustc") if name.startswith("Rust") else ("cc",)
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    page = tmp_path / "page.md"
    page.write_text(SECTIONS[name])
    assert follow(page, tmp_path) == []


def test_what_is_not_so_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\n$ echo a\na\n$ mkdir b\n$ cd b\n$ touch c\n$ ls\nd\n$ false\n```\n")
    first, second = follow(page, tmp_path)
    assert first.startswith("$ ls\nc\n") and second.startswith("$ false\nstatus 1")
