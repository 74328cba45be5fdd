"""Code objects of Python as a recording has them: from an instruction to its line.

Source: CPython InternalDocs/code_objects.md (earlier Objects/locations.md), the format of 3.11 and later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from heapwright.traces.arrays import I64, np

UNIT = 2  # bytes of an instruction
BEGINS = 0x80  # the first byte of an entry has this bit, the others have not
ONE_LINE, NO_COLUMN, LONG, NO_PLACE = 10, 13, 14, 15  # forms; those below have no difference of lines
PARTS = 6  # of a number of 32 bits


class Code(NamedTuple):
    name: str
    file: str
    first_line: int
    lines: bytes  # co_linetable


def lines_of(codes: Sequence[Code], which: I64, offsets: I64) -> I64:
    """The lines of instructions: for each one, its code's place in `codes`, and its offset there in bytes.

    Where a table has no line for an instruction, that is the code's first line.
    """
    owners, ends, lines = ranges([code.lines for code in codes], [code.first_line for code in codes])
    place = np.searchsorted(owners << 32 | ends, which << 32 | offsets, side="right")
    is_there = np.append(owners, -1)[place] == which
    line = np.where(is_there, np.append(lines, 0)[place], 0)
    first_lines = np.array([code.first_line for code in codes], "i8")
    found: I64 = np.where(line, line, first_lines[which])
    return found


def ranges(tables: Sequence[bytes], first_lines: Sequence[int]) -> tuple[I64, I64, I64]:
    """The table, the end and the line of each range of instructions; the line is 0 if a range has none."""
    data = b"".join(tables)
    numbered = np.frombuffer(data, "u1")
    starts = np.flatnonzero(numbered & BEGINS)
    table_starts = np.cumsum([0, *map(len, tables)])[:-1]
    owners = np.searchsorted(table_starts, starts, side="right") - 1
    form, length = numbered[starts] >> 3 & 15, (numbered[starts] & 7).astype("i8") + 1
    ends = within(owners, length * UNIT)
    lines = np.array(first_lines, "i8")[owners] + within(owners, line_steps(data, starts, form))
    return owners, ends, np.where(form == NO_PLACE, 0, lines)


def within(owners: I64, steps: I64) -> I64:
    """The running sum of steps, which begins anew with each owner."""
    total = np.cumsum(steps)
    first = np.searchsorted(owners, owners)
    summed: I64 = total - (total - steps)[first]
    return summed


def line_steps(data: bytes, starts: I64, form: I64) -> I64:
    """The difference of lines of each entry: none, that of its form, or a number after its first byte."""
    steps = np.where((form >= ONE_LINE) & (form < NO_COLUMN), form.astype("i8") - ONE_LINE, 0)
    has_number = (form == NO_COLUMN) | (form == LONG)
    number = numbers(data, starts[has_number] + 1)
    steps[has_number] = np.where(number & 1, -(number >> 1), number >> 1)
    return steps


def numbers(data: bytes, places: I64) -> I64:
    """The numbers at places of tables, in parts of 6 bits, the lowest first."""
    parts = np.frombuffer(data + bytes(PARTS), "u1").astype("i8")
    found, more = np.zeros(len(places), "i8"), np.ones(len(places), bool)
    for part in range(PARTS):
        piece = parts[places + part]
        found |= np.where(more, (piece & 63) << 6 * part, 0)
        more &= (piece & 64) != 0
    return found
