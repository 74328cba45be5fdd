"""`heapwright allocators`: the table, and a page of one."""

from __future__ import annotations

import json

from heapwright.allocators import ALLOCATORS

MINE = '''"""A heap of mine.

Source: B. One, C. Two, D. Three, A Book, 1999; E. Four, 2001.

    block -> +---+
           0 | a |

             +---+

Invariants
    I1  a sentence that goes on
        in a second line
    I2  another

Vital statistics: header 8 bytes, but not always, smallest chunk 24, alignment 16; alloc O(1), or so; dealloc O(n);
nothing. There is more.
"""

THREADS = "own"
'''


def test_the_table_is_in_teaching_order(heapwright):
    done = heapwright("allocators")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["allocator", "idea"]
    assert [line.split()[0] for line in lines[1:] if line[:1].isalpha()] == list(ALLOCATORS)
    assert "Kernighan" in done.stdout


def test_the_table_as_json(heapwright):
    rows = json.loads(heapwright("allocators", "--json").stdout)
    assert [row["name"] for row in rows] == list(ALLOCATORS)
    kr = next(row for row in rows if row["name"] == "kr")
    assert (kr["year"], kr["overhead"], kr["smallest"], kr["threads"]) == ("1988", "16 bytes", "32", "one lock")


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
    assert facts["overhead"] == "8 bytes, but not always"
    assert (facts["smallest"], facts["alignment"]) == ("24", "16")
    assert facts["costs"] == "alloc O(1), or so; dealloc O(n)"
    assert facts["returned"] == "nothing"
    assert facts["threads"] == "its own"
    assert facts["invariants"] == {"I1": "a sentence that goes on in a second line", "I2": "another"}
    assert len(facts["pictures"]) == 1


def test_a_docstring_without_form_leaves_blanks(heapwright, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('"""Only an idea."""\n')
    facts = json.loads(heapwright("allocators", path, "--json").stdout)
    assert (facts["idea"], facts["source"], facts["overhead"], facts["invariants"]) == ("Only an idea.", "", "", {})


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
