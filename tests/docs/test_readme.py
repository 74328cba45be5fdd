"""What the README shows is what the commands print; of measured figures, the shape."""

from __future__ import annotations

import inspect
import re
import shlex
from subprocess import STDOUT

import pytest
from pages import agrees, blocks, commands

from heapwright.allocators import kr

pytestmark = pytest.mark.long

NUMBER = re.compile(r"\d[\d,.]*(?: (?:ns|µs|ms|s)\b| [MGk]\b|%)?")


@pytest.fixture
def shown(root):
    """Each command line of the README, and what the README says that it prints."""
    return {each.line: each.shown for block in blocks(root / "README.md") for each in commands(block.text)}


def test_the_picture_is_the_one_that_is_drawn(shown, heapwright):
    line = "heapwright simulate boxtest -a kr --step"
    assert agrees(shown[line], heapwright(*line.split()[1:], stderr=STDOUT).stdout)


def test_the_picture_is_that_of_a_free_that_merges(shown):
    [text] = [text for line, text in shown.items() if "--step" in line]
    assert "dealloc" in text and "Block.units at 0x17fc0: 2 -> 4" in text
    assert len(text.splitlines()) <= 13


def test_the_lines_of_the_allocator_are_its_own(root):
    [code] = [block.text for block in blocks(root / "README.md") if block.language == "python"]
    assert code == inspect.getsource(kr.join)


def test_the_table_has_the_shape_of_one_that_is_measured(shown, heapwright, root, tmp_path):
    pytest.importorskip("numba")
    [report] = [line for line in shown if line.startswith("heapwright report")]
    [compare] = [line for line in shown if line.startswith("heapwright compare")]
    for line in shown:
        if " record " in line:
            variable, _, *arguments = shlex.split(line)
            name, value = variable.split("=")
            arguments[-1] = root / arguments[-1]
            assert heapwright(*arguments, cwd=tmp_path, **{name: value}).returncode == 0
    assert heapwright(*shlex.split(report)[1:], cwd=tmp_path).returncode == 0
    done = heapwright(*shlex.split(compare)[1:], "-n", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    title, count, head, *rows = done.stdout.splitlines()
    said_title, said_count, said_head, *said_rows = shown[compare].splitlines()
    assert shape(count) == shape(said_count) and head.split() == said_head.split()
    assert title.split()[0].endswith("python3") and said_title.split()[0].endswith("python3")
    measured = {row.split()[0]: shape(row) for row in rows}
    assert {"system", "wright", "ptmalloc", "hoard", "slab"} <= set(measured)
    assert measured.items() <= {row.split()[0]: shape(row) for row in said_rows}.items()


def test_a_program_runs_as_shown(shown, heapwright):
    pytest.importorskip("numba")
    [line] = [line for line in shown if line.startswith("heapwright run")]
    assert heapwright(*shlex.split(line)[1:]).stdout == shown[line]


def shape(line):
    """A line with `N` for each number and its unit; a spread of one repeat is not known."""
    return re.sub(r"(?<= )-(?= )|\bN\b", "N", NUMBER.sub("N", line)).split()
