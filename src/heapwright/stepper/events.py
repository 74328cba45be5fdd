"""The events of a run: compact columns, one row for each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from heapwright.layout import Struct
from heapwright.machine.source import PARTS, Place


class Kind(IntEnum):
    """What an event is. Only loads, stores, fills, copies and kernel calls are accesses of the allocator."""

    CALL = 0  # the program calls the allocator
    LOAD = 1
    STORE = 2
    FILL = 3
    COPY = 4
    KERNEL = 5
    RETURN = 6
    FAULT = 7  # the machine stops the program


class Event(NamedTuple):
    """One event; `value` is the number loaded or stored, a fill's byte, or a copy's source."""

    number: int
    kind: Kind
    address: int
    size: int
    value: int
    old: int  # the number before a store
    stack: tuple[Place, ...]  # the lines of the allocator, outermost first
    struct: type[Struct] | None  # of an access through a field
    base: int  # where that struct begins

    @property
    def place(self) -> Place | None:
        """The line to show: the innermost one that an allocator's author wrote."""
        return (
            next((place for place in reversed(self.stack) if place.file not in PARTS), self.stack[-1:][0])
            if self.stack
            else None
        )


@dataclass(slots=True)
class Call:
    """One call into the allocator: its events are those from `first` to `last`."""

    number: int  # from 1
    name: str
    arguments: tuple[int, ...]
    first: int
    last: int
    place: Place | None = None  # the program's line
    owner: str = ""  # the type of the value that made the request
    result: int | None = None
    is_over: bool = False


Key = tuple[int, ...]
CODES = {"kind": "B", "address": "q", "size": "q", "value": "q", "old": "q", "stack": "i", "struct": "h", "base": "q"}
ROW = sum(array(code).itemsize for code in CODES.values())  # bytes


class Log:
    """All events of a run, in order. Stacks and structs are kept once each and known by their number."""

    def __init__(self) -> None:
        self.columns = {name: array(code) for name, code in CODES.items()}
        self.stacks: list[tuple[Place, ...]] = [()]
        self.structs: list[type[Struct] | None] = [None]
        self._struct_numbers: dict[type[Struct] | None, int] = {None: 0}
        self._add = tuple(column.append for column in self.columns.values())

    def __len__(self) -> int:
        return len(self.columns["kind"])

    def __getitem__(self, number: int) -> Event:
        kind, address, size, value, old, stack, struct, base = (each[number] for each in self.columns.values())
        return Event(number, Kind(kind), address, size, value, old, self.stacks[stack], self.structs[struct], base)

    def __iter__(self) -> Iterator[Event]:
        return map(self.__getitem__, range(len(self)))

    def add(self, *row: int) -> int:
        """Append a row, whose numbers have the order of the columns; return its number."""
        for append, number in zip(self._add, row, strict=True):
            append(number)
        return len(self) - 1

    def add_stack(self, stack: tuple[Place, ...]) -> int:
        self.stacks.append(stack)
        return len(self.stacks) - 1

    def struct_number(self, struct: type[Struct] | None) -> int:
        number = self._struct_numbers.get(struct)
        if number is None:
            number = self._struct_numbers[struct] = len(self.structs)
            self.structs.append(struct)
        return number

    def column(self, name: str) -> np.ndarray:
        """A column as numbers to search; the log cannot grow while it is in use."""
        return np.frombuffer(self.columns[name], self.columns[name].typecode)
