"""Documents that say too little of us, or what is not so, are found."""

from __future__ import annotations

import pytest

HEADER = '''"""A heap.

Invariants
    I1  all is well
    I2  a sentence that goes on
        in a second line

More.
"""
'''
CHECK = 'def check(heap, start, end):\n    assert heap, "I1  all is well"\n'


@pytest.fixture
def check(tool):
    return tool("check_docs")


def test_what_nobody_mentions_is_found(check, tree):
    text = " ".join(f"`{name}`" for name in check.NAMES[1:])
    assert check.problems(tree({"docs/a.md": text})) == [f"docs: nothing is said of `{check.NAMES[0]}`"]


BAD = {
    "no such command": "heapwright fly",
    "no such option": "heapwright compare --bogus demo.hwt",
    "no such option before the program's": "heapwright run --bogus -- ls",
    "a value is missing": "heapwright record -o",
    "after something else": "PYTHONMALLOC=malloc heapwright fly | less",
}


@pytest.mark.parametrize("name", BAD)
def test_a_command_line_that_click_would_refuse_is_found(check, tree, name):
    found = check.problems(tree({"docs/a.md": f"```\n$ {BAD[name]}\n```\n", "README.md": f"Say `{BAD[name]}`."}))
    assert [problem.split(":")[0] for problem in found if "heapwright" in problem] == ["README.md", "docs/a.md"]


def test_command_lines_that_work(check):
    text = "`heapwright`, `heapwright --help`, `heapwright run -a kr -- ls -l` and the package `heapwright.layout`\n"
    block = "```sh\nheapwright record -o a.hwt -- ls && heapwright compare a.hwt -a kr  # both\n```\n"
    lines = list(check.command_lines(text + block))
    assert len(lines) == 5
    assert [check.refusal(line) for line in lines] == [""] * 5


def test_invariants_said_and_asserted_agree(check, tree):
    whole = CHECK + '    assert start, "I2  a sentence that goes on in a second line"\n'
    path = tree({"a.py": HEADER + whole}) / "a.py"
    assert check.disagreements(path) == []


def test_an_invariant_in_another_word_is_found_on_both_sides(check, tree):
    part = 'def check_part(heap):\n    assert heap, "I2  a sentence that goes on and on"\n'
    path = tree({"a.py": HEADER + CHECK, "a_part.py": part}) / "a.py"
    assert check.disagreements(path) == [
        "a.py: said, not asserted: I2 a sentence that goes on in a second line",
        "a.py: asserted, not said: I2 a sentence that goes on and on",
    ]


def test_ours(check, root):
    assert check.problems(root) == []
