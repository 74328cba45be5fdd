"""The table of what each collection costs is that of the run."""

import re

import pytest

from heapwright import allocator
from heapwright.collections.hash_table import GROUP, buckets_for
from heapwright.programs.run import run_program

PAIR, LEAF, INTERNAL = 16, 192, 288  # bytes of u64, u64 and of the nodes for such pairs


def rows(count, name="kr"):
    """name -> (requests, bytes at most, bytes at last, bytes moved), and the outcome."""
    outcome = run_program("costtest", name, ("costtest", str(count)))
    lines = (re.split(r"\s{2,}", line.replace(",", "")) for line in outcome.output[1:])
    return {name: tuple(map(int, numbers)) for name, *numbers in lines}, outcome


@pytest.mark.parametrize("name", allocator.ALLOCATORS)
def test_only_what_moves_depends_on_the_allocator(name):
    table, outcome = rows(100, name)
    assert outcome.leaks == []
    assert outcome.peak_bytes == max(maximum for _, maximum, _, _ in table.values())
    assert {what: row[:3] for what, row in table.items()} == {what: row[:3] for what, row in rows(100)[0].items()}
    assert table["Vec"][3] <= sum(8 * size for size in (4, 8, 16, 32, 64))
    assert table["HashMap"][3] == table["BTreeMap"][3] == 0


def test_the_sums():
    table, _ = rows(100)
    assert table["Vec"][:3] == table["VecDeque"][:3] == (6, 1024, 1024)
    assert table["String"][:3] == (5, 128, 128)
    buckets = buckets_for(100, PAIR)
    last, before = (each * (PAIR + 1) + GROUP for each in (buckets, buckets // 2))
    assert table["HashMap"][:3] == (6, last + before, last)
    requests, maximum, at_last, _ = table["BTreeMap"]
    assert maximum == at_last == (requests - 1) * LEAF + INTERNAL and 10 <= requests <= 21


def test_its_argument():
    assert rows(0)[0]["Vec"] == (0, 0, 0, 0)
    assert run_program("costtest", "kr", ("costtest", "x")).exit_code == 1
