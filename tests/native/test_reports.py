"""Reports of misuse in compiled code: one line on standard error, then SIGABRT. None hangs."""

from __future__ import annotations

import re
import signal

import pytest

from heapwright import allocator
from heapwright.allocators import ALLOCATORS

DETECTING = [spec for spec in ALLOCATORS if "double free" in " ".join(getattr(allocator.load(spec), "DETECTS", ()))]
SIZES = (24, 5000)
LINE = re.compile(r"heapwright: (\w+): ([a-z ,]+): (0x[0-9a-f]+)(?: \((\d+) bytes?\))?\n")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", DETECTING)
def test_a_double_free_is_one_line_and_sigabrt(spec, size, preloaded):
    done = preloaded(spec, "twice", size)
    assert done.returncode == -signal.SIGABRT
    said = LINE.fullmatch(done.stderr)
    assert said, done.stderr
    assert said[1] == spec
    if allocator.load(spec).has_usable_size:  # else a header that the first free overwrote says where the block is
        assert abs(int(said[3], 16) - int(done.stdout, 16)) <= 16  # the block, or its own header


@pytest.mark.parametrize("spec", [*DETECTING, "slab"])
def test_neither_statistics_nor_a_report_wait_for_stdio(spec, preloaded):
    done = preloaded(spec, "stdio")
    *numbers, report = done.stderr.splitlines(keepends=True)
    assert done.returncode == -signal.SIGABRT
    assert len(numbers) == 5 and all(re.fullmatch(r"[a-z ]{15} = +\d+\n", line) for line in numbers), numbers
    assert LINE.fullmatch(report)


# --- what a handler of SIGABRT may do

NOTICED = [
    *((spec, 24, "once") for spec in DETECTING),
    *((spec, 5000, "late") for spec in DETECTING),  # of hoard a buffer becomes a circle, longer than its superblock
    ("slab", 24, "late"),
    ("slab", 5000, "late"),
]
EACH = pytest.mark.parametrize(("spec", "size", "how"), NOTICED)
MAX_LINES = {"jump": 2, "both": 2}  # there two misuses are reported


@pytest.mark.parametrize("what", ["fork", "jump", "threads", "both"])
@EACH
def test_a_handler_of_sigabrt_may_use_the_heap_and_fork(spec, size, how, what, preloaded):
    """Where other threads allocate, one may get the block between the two frees: then that run shows nothing."""
    for _ in range(4 if what in ("threads", "both") else 1):
        done = preloaded(spec, "handler", what, size, how)
        if done.returncode == 42:
            break
    lines = done.stderr.splitlines(keepends=True)
    assert done.returncode == 42, (done.returncode, lines)
    assert lines and all(LINE.fullmatch(line) for line in lines), lines
    assert len(lines) <= MAX_LINES.get(what, 1)


@pytest.mark.parametrize("what", ["again", "nested"])
@EACH
def test_a_report_in_the_handler_of_one_ends_the_process(spec, size, how, what, preloaded):
    done = preloaded(spec, "handler", what, size, how)
    lines = done.stderr.splitlines(keepends=True)
    assert done.returncode == -signal.SIGABRT
    assert len(lines) == 2 and all(LINE.fullmatch(line) for line in lines), lines
