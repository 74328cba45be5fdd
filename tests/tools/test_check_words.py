"""Words that the glossary replaces are found, in identifiers and in prose."""

from __future__ import annotations

GLOSSARY = """
| term | meaning | not |
|---|---|---|
| mapping | what the kernel mapped | zone |
| `MAX_` | a limit | TOP_, LOW_ |
| block | memory | |
"""


def found(tool, tree, text: str) -> list[str]:
    return tool("check_words").problems(tree({"docs/glossary.md": GLOSSARY, "src/a.py": text}))


def test_words_are_found_in_prose_and_in_names(tool, tree):
    text = "a_zone = 1\n# two Zones\nTOP_SMALL = 1\nx = LOW_SIZE\n"
    assert [each.split(": ")[:2] for each in found(tool, tree, text)] == [
        ["src/a.py:1", "'zone'"],
        ["src/a.py:2", "'Zones'"],
        ["src/a.py:3", "'TOP_'"],
        ["src/a.py:4", "'LOW_'"],
    ]


def test_other_words_that_hold_them_are_not(tool, tree):
    assert found(tool, tree, "atop_two = zonal = 'at last, below_'\n") == []


def test_ours(tool, root):
    assert tool("check_words").problems(root) == []
