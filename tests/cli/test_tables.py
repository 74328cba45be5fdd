"""Tables fit the terminal and lose no cell; times have a unit that fits."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from heapwright.cli.tables import print_table
from heapwright.wording import duration

NAMES = ("system", "kr", "jemalloc{MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0}", "locked(counted(linked_list))")


def printed(width, *arguments, **more):
    text = io.StringIO()
    print_table(Console(file=text, width=width), *arguments, **more)
    lines = text.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.34, "12.3 s"),
        (1, "1.00 s"),
        (0.99949, "999 ms"),
        (0.0123, "12.3 ms"),
        (0.000042, "42.0 µs"),
        (0.0000099951, "10.0 µs"),
        (0.00000004, "40.0 ns"),
        (2e-10, "0.20 ns"),
        (4321.0, "4321 s"),
        (0, "0 s"),
    ],
)
def test_a_time_has_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_a_table_that_fits_is_in_one_part():
    assert printed(20, ("name", "a", "bb"), [("x", "1", "22"), ("yy", "333", "4")]) == [
        "name    a  bb",
        "x       1  22",
        "yy    333   4",
    ]


def test_a_table_that_does_not_fit_is_in_parts_that_repeat_its_names():
    assert printed(10, ("name", "a", "bb"), [("x", "1", "22"), ("yy", "333", "4")]) == [
        "name    a",
        "x       1",
        "yy    333",
        "",
        "name  bb",
        "x     22",
        "yy     4",
    ]


def test_a_long_name_is_folded_only_where_that_saves_a_part():
    table = ("name", "a", "b"), [("abcdefghijklmn", "11111", "22222")]
    assert printed(28, *table) == ["name                a      b", "abcdefghijklmn  11111  22222"]
    assert printed(24, *table) == ["name          a      b", "abcdefgh  11111  22222", "ijklmn"]
    assert printed(18, *table)[:3] == ["name             a", "abcdefghijk  11111", "lmn"]


@pytest.mark.parametrize("width", [160, 120, 80, 60, 40, 25])
def test_no_cell_is_lost_at_any_width(width):
    columns = ("malloc", "moment", *(f"figure {i}" for i in range(8)))
    rows = [(name, "worst", *(f"{10 ** (i + 2) + row:,}" for i in range(8))) for row, name in enumerate(NAMES)]
    text = "".join("".join(printed(width, columns, rows, words=2)).split())
    for row in rows:
        for cell in row[2:]:
            assert cell in text
    if width >= 80:
        for name in NAMES:
            assert name in text or name[: width // 4] in text


# --- the commands


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "two.rep"
    path.write_text("0\n2\n4\n1\na 0 100\na 1 5000\nf 1\nf 0\n")
    return path


@pytest.mark.parametrize("width", [80, 40])
def test_compare_fits(heapwright, trace, width):
    chosen = [word for name in ("system", "kr", "system{MALLOC_ARENA_MAX=1}") for word in ("-a", name)]
    done = heapwright("compare", trace, *chosen, "-n", 2, "--memory", "--latency", COLUMNS=str(width))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(len(line) <= width for line in lines), done.stdout
    assert "…" not in done.stdout
    words = done.stdout.split()
    for head in ("warm", "cold", "utilization", "resident", "requested", "held", "p99.9", "max"):
        assert head in words
    moments = Counter(line.split()[1] for line in lines if len(line.split()) > 1)
    for moment in ("peak", "worst", "end", "freed"):
        assert moments[moment] >= 3 * (1 if moment == "worst" else 2), done.stdout
        assert moments[moment] % 3 == 0, done.stdout


@pytest.mark.parametrize("width", [80, 40])
def test_bench_fits(heapwright, width):
    chosen = ("-a", "kr", "-a", "hoard", "-a", "system{MALLOC_ARENA_MAX=1}", "--no-peers", "-w", "pairs_16", "-n", 1)
    done = heapwright("bench", *chosen, "--scale", "0.0002", COLUMNS=str(width), MALLOC_TOP_PAD_="131072")
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= width for line in done.stdout.splitlines()), done.stdout
    assert "…" not in done.stdout
    assert "every malloc gets MALLOC_TOP_PAD_=131072" in " ".join(done.stdout.split())
    assert len(re.findall(r"\d+\.\d\d \d+\.\d\d", done.stdout)) == 3 * (1 + 1 + 1), done.stdout
