"""The docstrings of the allocators have all their parts, and their pages are current."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.describe import Description, describe

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def make_docs(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("make_docs")


@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_docstring_has_all_its_parts(name: str) -> None:
    description = describe(name)
    missing = lacking(description)
    assert missing == [], f"{name}.py lacks {missing}: the form is told in describe.py"
    assert description.pictures
    assert description.invariants


def test_the_pages_are_current(make_docs: ModuleType) -> None:
    assert make_docs.problems(ROOT) == []


def lacking(description: Description) -> list[str]:
    facts = description.as_dict()
    return [fact for fact, value in facts.items() if value in (None, "") and fact != "overhead_elsewhere"]


def test_the_example_has_all_its_parts() -> None:
    assert lacking(describe(str(ROOT / "examples" / "powers_of_two.py"))) == []


def test_what_is_stale_or_too_much_is_found(make_docs: ModuleType, tmp_path: Path) -> None:
    make_docs.make(tmp_path)
    assert make_docs.problems(tmp_path) == []
    folder = tmp_path / "docs" / "allocators"
    (folder / "kr.md").write_text("old")
    (folder / "gone.md").write_text("old")
    assert make_docs.problems(tmp_path) == [
        "docs/allocators/kr.md is not current: run tools/make_docs.py",
        "docs/allocators/gone.md belongs to no allocator",
    ]
    make_docs.make(tmp_path)
    assert make_docs.problems(tmp_path) == []


def test_markup_is_escaped_outside_of_backquotes(make_docs: ModuleType) -> None:
    assert make_docs.escaped("a*b and `a*b` or hoard_heaps") == "a\\*b and `a*b` or hoard\\_heaps"


def test_a_page_has_picture_invariants_and_the_modules(make_docs: ModuleType) -> None:
    page = make_docs.pages()["dlmalloc.md"]
    assert "```text\n      chunk -> +---" in page
    assert "* **DL1** every chunk lies at a multiple of 16" in page
    assert "## `trees`" in page
