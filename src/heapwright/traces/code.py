"""Code objects of Python as a recording has them: from an instruction to its line.

Source: CPython InternalDocs/code_objects.md (earlier Objects/locations.md), the format of 3.11 and later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from heapwright.traces.stacks import PYTHON, Frame

UNIT = 2  # bytes of an instruction
SHORT_END, ONE_LINE, NO_COLUMN, LONG, NO_PLACE = 10, 10, 13, 14, 15


@dataclass(frozen=True)
class Code:
    name: str
    file: str
    first_line: int
    lines: bytes  # co_linetable

    def frame(self, offset: int) -> Frame:
        """The frame of this code at the instruction `offset` bytes from its start."""
        place = bisect_right(self._ends, offset, key=itemgetter(0))
        line = self._ends[place][1] if place < len(self._ends) else 0
        return Frame(self.name, self.file, line or self.first_line, language=PYTHON)

    @cached_property
    def _ends(self) -> list[tuple[int, int]]:
        """Where each range of instructions ends, and its line; 0 if it has none."""
        return list(ranges(self.lines, self.first_line))


def ranges(table: bytes, line: int) -> Iterator[tuple[int, int]]:
    """The end and the line of each range of a line table. A damaged table ends early."""
    place = end = 0
    while place < len(table):
        form, length = table[place] >> 3 & 15, (table[place] & 7) + 1
        step, place = line_step(table, place + 1, form)
        line += step
        end += length * UNIT
        yield end, 0 if form == NO_PLACE else line


def line_step(table: bytes, place: int, form: int) -> tuple[int, int]:
    """The difference of lines that an entry of this form has at `place`, and the place of the next entry."""
    if form < SHORT_END:
        return 0, place + 1
    if form < NO_COLUMN:
        return form - ONE_LINE, place + 2
    if form == NO_PLACE:
        return 0, place
    step, place = number(table, place)
    for _ in range(3 if form == LONG else 0):
        _, place = number(table, place)
    return (-(step >> 1) if step & 1 else step >> 1), place


def number(table: bytes, place: int) -> tuple[int, int]:
    """A number in parts of 6 bits, the lowest first, and the place after it."""
    found = shift = 0
    while place < len(table):
        part = table[place]
        place += 1
        found |= (part & 63) << shift
        shift += 6
        if not part & 64:
            break
    return found, place
