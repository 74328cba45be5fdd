"""Lines of Python's code objects, from the table that a recording has of them: as CPython itself reads it."""

from __future__ import annotations

import json.decoder
import textwrap
from types import CodeType

import numpy as np
import pytest

from heapwright.traces.code import Code, lines_of, ranges


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
    codes = list(codes_in(module))
    ours = [Code(code.co_qualname, path, code.co_firstlineno, code.co_linetable) for code in codes]
    asked = [
        (place, offset, line or code.co_firstlineno)
        for place, code in enumerate(codes)
        for start, end, line in code.co_lines()
        for offset in (start, end - 1)
    ]
    which, offsets, lines = (np.array(column) for column in zip(*asked, strict=True))
    assert len(asked) > 100
    assert lines_of(ours, which, offsets).tolist() == lines.tolist()


def test_steps_of_all_forms():
    table = bytes([0x80 | 13 << 3, 64 | 2, 1, 0x80 | 15 << 3 | 1, 0x80 | 14 << 3, 3, 0, 0, 0, 0x80 | 12 << 3, 0, 0])
    owners, ends, lines = ranges([b"", table, table], [1, 100, 200])
    assert owners.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert ends.tolist() == [2, 6, 8, 10] * 2
    assert lines.tolist() == [133, 0, 132, 134, 233, 0, 232, 234]


@pytest.mark.parametrize("table", [b"", b"\xe8", b"\xf0\x40", b"\x80"])
def test_a_damaged_table_gives_the_first_line(table):
    codes = [Code("f", "f.py", 7, table), Code("g", "g.py", 9, table)]
    assert lines_of(codes, np.array([0, 1]), np.array([100, 100])).tolist() == [7, 9]
