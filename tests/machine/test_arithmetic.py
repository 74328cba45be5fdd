"""What an interpreted allocator calculates stays inside 64 bits, as compiled; `check` and `lists` may do more."""

import ast
import inspect
import sys
from textwrap import dedent

import pytest
from toy import NO_MEMORY, fault

from heapwright import allocator
from heapwright.bits import MAX_WORD, align_up
from heapwright.machine import Kind, arithmetic, start
from heapwright.spans import FREE

LEAST = -MAX_WORD - 1
HEAD = """from __future__ import annotations

from heapwright.bits import align_up, floor_log2, shift_right, wrapping_add, wrapping_mul
import helpers
"""


@pytest.fixture
def calculating(tmp_path, monkeypatch):
    """A heap whose `dealloc` calculates something of its address, size and align, and whose `realloc` returns it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(lines, more="", helpers=""):
        (tmp_path / "helpers.py").write_text(helpers)
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        path = tmp_path / "mine.py"
        path.write_text(
            f"{HEAD}{NO_MEMORY}{more}\n\ndef trim(heap, pad):\n    size = {MAX_WORD}\n    least = {LEAST}\n{body}"
        )
        return start(allocator.load(str(path)))

    yield make
    sys.modules.pop("helpers", None)


TOO_LARGE = [
    "return size * 4 >> 40",
    "return (size + 1) & 15",
    "return 0 if size + 1 > size else 1",
    "return (least - 1) & 15",
    "return -least & 1",
    "return (1 << 63 - size + size) & 1",
    "size += 1\nreturn size & 1",
    "size <<= 1\nreturn size & 1",
    "size *= size\nreturn size & 1",
    "return abs(least) & 1",
    "return least // -(size - size + 1) & 1",
    "return align_up(size, 16) & 1",
    "return (size << 1) % 2",
    "while size > 0:\n    size = size + size\nreturn 0",
    "for each in range(size + 1):\n    return each",
    "return max(size, size + 1) & 1",
    "return helpers.twice(size) & 1",
    "return (size + 1, 2)[1]",
    "return 1 << floor_log2(size) + 1 << 0 & 1",
]


@pytest.mark.parametrize("lines", TOO_LARGE)
def test_a_number_beyond_64_bits_is_refused_at_its_line(calculating, lines):
    heap = calculating(lines, helpers="def twice(n):\n    return n * 2\n")
    found = fault(heap.trim)
    assert found.kind == Kind.NUMBER, found
    assert "needs more than 64 bits" in found.what or "a shift by" in found.what
    assert found.call == "trim(0)" and found.place.function in {"trim", "twice"}
    assert found.place.text in [*map(str.strip, lines.splitlines()), "return n * 2"]


@pytest.mark.parametrize("shift", [63, 64, 1000])
@pytest.mark.parametrize("sign", ["<<", ">>"])
def test_a_shift_is_by_0_to_62(calculating, sign, shift):
    found = fault(calculating(f"return 0 {sign} size - size + {shift}").trim)
    assert (found.kind, found.what) == (Kind.NUMBER, f"a shift by {shift}: shifts are by 0 to 62")


def test_a_shift_by_less_than_nothing_is_one_too(calculating):
    assert "a shift by -1" in fault(calculating("return 1 << size - size - 1").trim).what


FITTING = [
    ("return size", MAX_WORD),
    ("return least", LEAST),
    ("return -size - 1", LEAST),
    ("return least + size", -1),
    ("return size - 1 + 1", MAX_WORD),
    ("return 1 << 62", 1 << 62),
    ("return wrapping_mul(size, size)", 1),
    ("return wrapping_add(size, 1)", LEAST),
    ("return wrapping_add(least, -1)", MAX_WORD),
    ("return shift_right(least, 63)", 1),
    ("return ~size", LEAST),
    ("return size >> 62", 1),
    ("size -= 1\nreturn size", MAX_WORD - 1),
    ("heap.word += 5\nheap.word -= 2\nreturn heap.word", 3),
]


@pytest.mark.parametrize(("lines", "result"), FITTING)
def test_what_fits_is_calculated_as_it_is(calculating, lines, result):
    assert calculating(lines).trim() == result


ANY_PYTHON = f"""

def large(n):
    return {{n * n, n << 100}} - {{n}} and [n] + [n] * 2


def shared(n):
    return n + 1


def check(heap, start, end):
    assert large({MAX_WORD}) and shared({MAX_WORD}) and (end << 100) - start


def lists(heap):
    return [("a list", large(shared({MAX_WORD})))]


def walk(heap, start, end):
    yield start, end - start, {FREE}
"""


def test_what_is_not_compiled_may_be_any_python(calculating):
    heap = calculating("return shared(1)", ANY_PYTHON)
    heap.memory.sbrk(4096)
    heap.check()
    assert heap.lists() == [("a list", [MAX_WORD + 1] * 3)] and heap.trim() == 2


def test_what_check_and_alloc_share_is_compiled(calculating):
    assert fault(calculating("return shared(size)", ANY_PYTHON).trim).kind == Kind.NUMBER


def test_code_outside_of_a_call_is_as_it_always_was(calculating):
    heap = calculating("return align_up(size, 16)")
    assert fault(heap.trim).kind == Kind.NUMBER
    assert align_up(MAX_WORD, 16) == MAX_WORD + 1
    assert heap._functions.trim(heap.state, 0) == MAX_WORD + 1


def test_the_lines_of_functions_stay(calculating):
    found = fault(calculating("size = size\n\nreturn (\n    size\n    * 2\n)").trim)
    assert found.place.text in {"size", "* 2"}


@pytest.mark.parametrize("name", ["kr", "ptmalloc", "locked(hoard)"])
def test_every_function_that_is_compiled_looks(name):
    found = allocator.load(name)
    start(found)
    functions = arithmetic.functions_of(found.parts)
    looking = [each for each in functions if arithmetic.FIT in each.__code__.co_varnames]
    adding = [each for each in functions if may_outgrow(each)]
    assert looking and set(adding) <= set(looking)


ANNOTATED = """
from heapwright.layout import Array

COUNT = 3


class Table(Struct):
    slots: Array[Word, COUNT + 1]


def total(heap, size: COUNT + 1):
    more: Table[size + 1] = size + 1
    return more & 1
"""


def test_annotations_calculate_what_they_like(calculating):
    found = fault(calculating("return total(heap, size)", ANNOTATED).trim)
    assert (found.kind, found.place.text) == (Kind.NUMBER, "more: Table[size + 1] = size + 1")


def may_outgrow(function):
    tree = ast.parse(dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.BinOp) and arithmetic.may_outgrow(node) for node in ast.walk(tree.body[0]))


def test_a_source_that_changed_after_it_was_loaded_changes_nothing(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"{NO_MEMORY}\n\ndef trim(heap, pad):\n    return 1 + heap.word\n")
    loaded = allocator.load(str(path))
    path.write_text(f"{NO_MEMORY}\n\ndef trim(heap, pad):\n    return 2 + heap.word\n")
    assert start(loaded).trim() == 1
