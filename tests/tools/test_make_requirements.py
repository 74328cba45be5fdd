"""A row that is missing, or that names what is not there, is found; the table is that of the rows."""

from __future__ import annotations

import pytest

HEAD = """head = "What it is."
groups = [{ prefix = "A", title = "Part", last = 2 }, { prefix = "B", title = "Rest", rows = ["1a", ""] }]
"""
SOURCES = {
    "src/heapwright/machine/heap.py": "class Heap:\n    def alloc(self):\n        pass\n",
    "tests/test_it.py": "def test_one():\n    pass\n",
    "docs/requirements.md": "",
}
ROW = '[{}]\nwhat = "it works"\nbuilt = ["machine.heap.Heap.alloc"]\ntests = ["tests/test_it.py::test_one"]\n'
ROWS = "".join(map(ROW.format, ("A1", "A2", "B1a", "B")))
BAD = {
    "a row is missing": (ROWS.replace("[A2]", "[A3]"), "A2 has no row"),
    "a row too many": (ROWS + ROW.format("C1"), "no requirement is named C1"),
    "no such test": (ROWS.replace("::test_one", "::test_two", 1), "A1: there is no tests/test_it.py::test_two"),
    "no such file of tests": (
        ROWS.replace("test_it.py", "test_no.py", 1),
        "A1: there is no tests/test_no.py::test_one",
    ),
    "no such function": (ROWS.replace("Heap.alloc", "Heap.free", 1), "A1: there is no machine.heap.Heap.free"),
    "no such module": (ROWS.replace("machine.", "native.", 1), "A1: there is no native.heap.Heap.alloc"),
    "no such document": (ROWS.replace("machine.heap.Heap.alloc", "docs/no.md", 1), "A1: there is no docs/no.md"),
    "no test": (ROWS.replace('["tests/test_it.py::test_one"]', "[]", 1), "A1: there is no 'tests'"),
    "a misspelt key": (ROWS.replace("what", "waht", 1), "A1: nobody knows 'waht'"),
}


@pytest.fixture
def rows(tool, tree):
    """A tree with some rows; the tool, and the root."""

    def write(text):
        return tool("make_requirements"), tree({**SOURCES, "docs/requirements.toml": HEAD + text})

    return write


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found(rows, name):
    text, problem = BAD[name]
    make, root = rows(text)
    assert f"docs/requirements.toml: {problem}" in make.problems(root)


def test_the_table(rows):
    make, root = rows(ROWS.replace('"it works"', '"it works"\nopen = "the rest"', 1))
    assert make.problems(root) == ["docs/requirements.md is not current: run tools/make_requirements.py"]
    text = make.page(*make.read(root))
    assert "What it is.\n3 of 4 rows are whole." in text and text.count("\n## ") == 2
    named = "`machine.heap.Heap.alloc` | `tests/test_it.py::test_one`"
    assert f"| A1 | it works | {named} | open: the rest |\n| A2 | it works | {named} | whole |\n" in text
    (root / "docs/requirements.md").write_text(text)
    assert make.problems(root) == []


def test_ours(tool, root):
    assert tool("make_requirements").problems(root) == []
