"""What the documents cite exists, and what they tell happens."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest

import heapwright
from heapwright import allocator
from heapwright.machine import start
from heapwright.spans import FREE, USED

PACKAGE = Path(heapwright.__file__).parent
DOCS = PACKAGE.parent.parent / "docs"
STORIES = sorted([DOCS / "first-malloc.md", DOCS / "overview.md", *(DOCS / "decisions").glob("*.md")])
CITED = re.compile(r"`([a-z_]\w*(?:\.\w+)+)`")
FILE = re.compile(r".*\.(py|md|txt|so|hwt|h)")
FIRST, SECOND = 0xFFE0, 0xFFB0  # from the start of kr's heap


def cited(path: Path) -> set[str]:
    found = CITED.findall(path.read_text())
    return {name for name in found if not FILE.fullmatch(name) and not name.startswith("heap.")}


def module_of(name: str) -> tuple[Path | None, list[str]]:
    """The module that a dotted name begins with, and the rest of the name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:length])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file, parts[length:]
    return None, parts


def defined(body: list[ast.stmt], names: list[str]) -> bool:
    """Whether nested definitions of these names begin in `body`."""
    if not names:
        return True
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and statement.name == names[0]:
            return defined(statement.body, names[1:])
    return False


def exists(name: str) -> bool:
    path, rest = module_of(name)
    return path is not None and defined(ast.parse(path.read_text()).body, rest)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_each_name_cited_exists(path: Path) -> None:
    assert [name for name in sorted(cited(path)) if not exists(name)] == []


def test_a_name_that_is_gone_would_be_found() -> None:
    assert exists("allocators.kr.alloc")
    assert exists("machine.heap.Heap.alloc")
    assert not exists("allocators.kr.morecore")
    assert not exists("machine.heap.Heap.morecore")
    assert not exists("nothing.alloc")


def test_the_story_cites_enough_to_follow() -> None:
    assert len(cited(DOCS / "first-malloc.md")) > 30


def test_the_first_story() -> None:
    heap = start(allocator.load("kr"))
    calls: list[tuple[str, tuple[int, ...]]] = []
    stores: list[int] = []
    assert (heap.words, heap.process.heap_start, heap.state.SIZE) == (0x1000, 0x4000, 24)
    heap.process.observe(
        access=lambda operation, address, *_: stores.append(address) if operation == "store" else None,
        call=lambda name, arguments, *_: calls.append((name, arguments)),
    )
    assert heap.alloc(24) == 0x4000 + FIRST == 0x13FE0
    assert calls == [("sbrk", (0,)), ("sbrk", (65536,))]
    assert stores[:3] == [0x1008, 0x1010, 0x1000]
    assert stores[-1] == 0x13FD8
    assert list(heap.spans()) == [(0x4000, 65488, FREE), (0x13FD0, 48, USED)]
    assert heap.alloc(24) == 0x4000 + SECOND
    heap.check()


SECOND_STORY = """
import ctypes, sys
library, process = ctypes.CDLL(sys.argv[1]), ctypes.CDLL(None)
for function in (library.malloc, process.sbrk):
    function.restype = ctypes.c_void_p
start = process.sbrk(0)
print(start % 16, *(library.malloc(24) - start for _ in range(2)), process.sbrk(0) - start)
"""


def test_the_second_story() -> None:
    pytest.importorskip("numba")
    from heapwright.native.library import library_of, stack_for

    assert stack_for("kr").spec == "locked(kr)"
    command = [sys.executable, "-c", SECOND_STORY, str(library_of("kr"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", str(FIRST), str(SECOND), "65536"]


def test_the_example_of_the_overview_runs() -> None:
    [example] = re.findall(r"```python\n(.*?)```", (DOCS / "overview.md").read_text(), re.S)
    exec(example, {})  # noqa: S102  our own document


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_program_that_asks_its_heap(
    heapwright: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    pytest.importorskip("numba")
    text = (DOCS / "overview.md").read_text()
    [program] = re.findall(r"```c\n(.*?)```", text, re.S)
    [(line, shown)] = re.findall(r"^\$ cc .*&& heapwright (.*)\n(.*)\n", text, re.M)
    (tmp_path / "ask.c").write_text(program)
    assert heapwright("build", "kr", "--header", tmp_path / "heapwright.h").returncode == 0
    subprocess.run(["cc", "-Wall", "-Werror", "ask.c", "-o", "ask"], cwd=tmp_path, check=True)
    done = heapwright(*shlex.split(line), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{shown}\n")
    assert done.stderr.startswith("[heapwright kr, process ")


def test_the_example_of_the_story_runs() -> None:
    [example] = re.findall(r"```python\n(.*?)```", (DOCS / "first-malloc.md").read_text(), re.S)
    exec(example, {})  # noqa: S102  our own document


@pytest.mark.long
def test_the_table_of_collections_is_what_the_example_prints(capsys: pytest.CaptureFixture[str]) -> None:
    [shown] = re.findall(
        r"```\n\$ python examples/choose_a_collection.py\n(.*?)```", (DOCS / "collections.md").read_text(), re.S
    )
    run_path(str(DOCS.parent / "examples" / "choose_a_collection.py"))["main"](["linked_list", "kr", "buddy"])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == shown.splitlines()


def test_errata_are_numbered_without_gaps() -> None:
    rows = re.findall(r"^\| ([A-E])(\d+) \|", (DOCS / "errata.md").read_text(), re.M)
    assert {part for part, _ in rows} == set("ABCE")
    for part in "ABCE":
        numbers = [int(number) for letter, number in rows if letter == part]
        assert numbers == list(range(1, len(numbers) + 1))
