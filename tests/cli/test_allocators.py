"""`heapwright allocators`: the table, and a page of one."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.describe import describe_all

MINE = '''"""A heap of mine.

Source: B. One, C. Two, D. Three, A Book, 1999; E. Four, 2001.

    block -> +---+
           0 | a |

             +---+

Invariants
    I1  a sentence that goes on
        in a second line
    I2  another
"""

OVERHEAD = 8
OVERHEAD_ELSEWHERE = "but not always"
SMALLEST = 24
ALIGN = 16
ALLOC_COST = "O(1), or so"
GIVES_BACK = "nothing"
THREADS = "own"
'''


def test_the_table_is_in_teaching_order(heapwright):
    done = heapwright("allocators")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["allocator", "idea"]
    assert [line.split()[0] for line in lines[1:] if line[:1].isalpha()] == list(ALLOCATORS)
    assert "Kernighan" in done.stdout


@pytest.mark.parametrize("width", [150, 130, 80, 40])
def test_the_table_fits_the_terminal_and_loses_nothing(heapwright, width):
    lines = heapwright("allocators", COLUMNS=str(width)).stdout.splitlines()
    assert all(len(line) <= width for line in lines)
    words = Counter(re.findall(r"[^\s:]+", "\n".join(lines)))
    for each in describe_all():
        for cell in each.row:
            assert not Counter(re.findall(r"[^\s:]+", cell)) - words, cell
    assert "…" not in words


def test_the_table_as_json(heapwright):
    rows = json.loads(heapwright("allocators", "--json").stdout)
    assert [row["name"] for row in rows] == list(ALLOCATORS)
    kr = next(row for row in rows if row["name"] == "kr")
    assert (kr["year"], kr["overhead"], kr["smallest"], kr["threads"]) == ("1988", 16, 16, "one lock")


def test_the_page_of_one(heapwright):
    done = heapwright("allocators", "kr")
    assert done.returncode == 0, done.stderr
    assert "      block -> +--------------------+\n" in done.stdout
    assert "    I3  no two free blocks touch\n" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_file_of_mine(heapwright, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    facts = json.loads(heapwright("allocators", path, "--json").stdout)
    assert facts["authors"] == "One et al."
    assert facts["year"] == "1999"
    assert (facts["overhead"], facts["overhead_elsewhere"]) == (8, "but not always")
    assert (facts["smallest"], facts["align"]) == (24, 16)
    assert (facts["alloc_cost"], facts["dealloc_cost"], facts["gives_back"]) == ("O(1), or so", "", "nothing")
    assert facts["threads"] == "its own"
    assert facts["invariants"] == {"I1": "a sentence that goes on in a second line", "I2": "another"}
    assert len(facts["pictures"]) == 1


def test_a_docstring_without_form_leaves_blanks(heapwright, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('"""Only an idea."""\n')
    facts = json.loads(heapwright("allocators", path, "--json").stdout)
    assert (facts["idea"], facts["source"], facts["overhead"], facts["invariants"]) == ("Only an idea.", "", None, {})


def test_no_docstring_at_all(heapwright, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    assert heapwright("allocators", path).returncode == 0


def test_one_that_is_not_there(refused, tmp_path):
    assert "did you mean 'kr'" in refused("allocators", "krr")
    assert "no file" in refused("allocators", tmp_path / "no.py")
    broken = tmp_path / "broken.py"
    broken.write_text("def (\n")
    assert "broken.py:1" in refused("allocators", broken)
