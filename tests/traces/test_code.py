"""Lines of Python's code objects, from the table that a recording has of them: as CPython itself reads it."""

from __future__ import annotations

import json.decoder
import textwrap
from types import CodeType

import pytest

from heapwright.traces.code import Code, ranges
from heapwright.traces.stacks import PYTHON, Frame


def codes_in(code):
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from codes_in(each)


MODULES = [json.decoder.__file__, textwrap.__file__, __file__]


@pytest.mark.parametrize("path", MODULES)
def test_each_instruction_has_the_line_that_cpython_says(path):
    with open(path, encoding="utf-8") as file:
        module = compile(file.read(), path, "exec")
    checked = 0
    for code in codes_in(module):
        ours = Code(code.co_qualname, path, code.co_firstlineno, code.co_linetable)
        for start, end, line in code.co_lines():
            for offset in (start, end - 1):
                assert ours.frame(offset).line == (line or code.co_firstlineno), (code.co_qualname, offset)
                checked += 1
    assert checked > 100


def test_steps_of_all_forms():
    table = bytes([0x80 | 13 << 3, 64 | 2, 1, 0x80 | 15 << 3 | 1, 0x80 | 14 << 3, 3, 0, 0, 0, 0x80 | 12 << 3, 0, 0])
    assert list(ranges(table, 100)) == [(2, 133), (6, 0), (8, 132), (10, 134)]


@pytest.mark.parametrize("table", [b"", b"\xe8", b"\xf0\x40", b"\x80"])
def test_a_damaged_table_gives_the_first_line(table):
    assert Code("f", "f.py", 7, table).frame(100) == Frame("f", "f.py", 7, language=PYTHON)
