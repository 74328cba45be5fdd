"""Files and functions that are too long are found, the longest first."""

from __future__ import annotations

import pytest


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    pass\n" * (lines - 1)


def test_what_is_too_long_is_found(tool, tree):
    files = {
        "src/a.py": function("long", 61) + function("short", 3) * 4,
        "src/b.py": "pass\n" * 400,
        "tests/d.py": "pass\n" * 402,
        "src/e.c": "int i;\n" * 401,
        "src/heapwright/allocators/story/__init__.py": "pass\n" * 600,
        "src/heapwright/allocators/story/bins.py": "pass\n" * 403,
        "tools/c.py": "pass\n" * 100,
    }
    assert tool("check_sizes").problems(tree(files)) == [
        "   600 > 599  src/heapwright/allocators/story/__init__.py",
        "   403 > 399  src/heapwright/allocators/story/bins.py",
        "   402 > 399  tests/d.py",
        "   401 > 399  src/e.c",
        "   400 > 399  src/b.py",
        "   100 > 99   tools/c.py",
        "    61 > 60   src/a.py:1 long",
    ]


def test_a_tree_of_middling_functions_is_found(tool, tree):
    assert tool("check_sizes").problems(tree({"src/a.py": function("f", 10)})) == ["    10 > 9    the median function"]


def test_what_just_fits_is_not(tool, tree):
    files = {"src/a.py": function("f", 60) + function("g", 9) * 3, "src/b.py": "pass\n" * 399}
    files["src/heapwright/allocators/story/__init__.py"] = "pass\n" * 599
    assert tool("check_sizes").problems(tree(files)) == []


@pytest.mark.long
def test_ours(tool, root):
    assert tool("check_sizes").problems(root) == []
