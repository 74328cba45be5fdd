"""The events of a call as an outline, so that a long call can be read.

A function that the allocator calls is one row, and so are the turns of a loop. Where the position is inside one, its
own rows follow, indented. A function that makes most of the events is always open.

    ▸ this_thread: 25 events; roster.lock, mmap, roster.fresh
    ▾ new_superblock
      load   store.lock = 0
      ▸ map_chunk: 5 events; mmap, munmap, store.fresh, store.end
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from enum import Enum
from itertools import groupby
from typing import NamedTuple

from heapwright.stepper.events import Log
from heapwright.stepper.runs import MIN_TIMES, runs

SMALL = 2  # events of a function that are shown without a row for the function
MOST = 0.7  # the share of the events around it from which on a function is always open


class Shape(Enum):
    EVENT = 0
    CLOSED = 1  # a function
    OPEN = 2
    LOOP = 3  # turns of which the first, or the current one, follows


class Row(NamedTuple):
    """The events from `first` to before `end`; `title` is the name of a function, `times` and `turn` are a loop's."""

    shape: Shape
    first: int
    end: int
    depth: int
    title: str = ""
    times: int = 1
    turn: int = 0

    def holds(self, position: int) -> bool:
        """Whether this row shows the event that happened last."""
        is_whole = self.shape in {Shape.EVENT, Shape.CLOSED} or (self.shape == Shape.LOOP and position == self.end)
        return is_whole and self.first < position <= self.end


class Item(NamedTuple):
    """An event of the function itself, or all events of a function that it calls there, or of the turns of a loop."""

    first: int
    end: int
    key: Hashable
    function: str = ""
    turns: tuple[Item, ...] = ()

    def is_open(self, position: int) -> bool:
        return self.first < position < self.end


class Outline:
    """The rows of one call, seen from a position."""

    def __init__(self, log: Log, position: int):
        self.position, self.stacks = position, log.stacks
        self.kinds, self.stack_numbers = log.columns["kind"], log.columns["stack"]

    def rows(self, first: int, end: int, level: int = 0, depth: int = 0) -> Iterator[Row]:
        """The rows of events that a function at a level of the stack makes, itself or by others."""
        items = joined(self.items(first, end, level))
        for run in runs([item.key for item in items]):
            if run.times == 1:
                item = items[run.first]
                is_most = item.end - item.first > MOST * (end - first)
                yield from self.rows_of(item, level, depth, is_most)
            else:
                turns = range(run.first, run.end, run.period)
                yield from self.loop([items[at : at + run.period] for at in turns], level, depth)

    def items(self, first: int, end: int, level: int) -> Iterator[Item]:
        at = first
        while at < end:
            key, function = self.key(at, level)
            after = at + 1
            while function and after < end and self.key(after, level)[0] == key:
                after += 1
            yield Item(at, after, key, function)
            at = after

    def key(self, number: int, level: int) -> tuple[Hashable, str]:
        """What makes an event like another, and the function that it is made in if it is not that of the level."""
        stack = self.stacks[self.stack_numbers[number]]
        if len(stack) <= level + 1:
            return (self.kinds[number], stack[-1].line if stack else number), ""
        return (stack[level].line, stack[level + 1].function), stack[level + 1].function

    def rows_of(self, item: Item, level: int, depth: int, is_most: bool = False) -> Iterator[Row]:
        if item.turns:
            yield from self.loop([[turn] for turn in item.turns], level, depth)
        elif not item.function:
            yield Row(Shape.EVENT, item.first, item.end, depth)
        elif item.end - item.first <= SMALL:
            yield from self.rows(item.first, item.end, level + 1, depth)
        elif is_most or item.is_open(self.position):
            yield Row(Shape.OPEN, item.first, item.end, depth, item.function)
            yield from self.rows(item.first, item.end, level + 1, depth + 1)
        else:
            yield Row(Shape.CLOSED, item.first, item.end, depth, item.function)

    def loop(self, turns: list[list[Item]], level: int, depth: int) -> Iterator[Row]:
        """A heading, and the turn of the loop that the position is in, or else the first one."""
        first, end = turns[0][0].first, turns[-1][-1].end
        is_open = first < self.position < end
        turn = next(at for at, turn in enumerate(turns) if not is_open or self.position <= turn[-1].end)
        yield Row(Shape.LOOP, first, end, depth, "", len(turns), turn)
        for item in turns[turn]:
            yield from self.rows_of(item, level, depth + 1)


def joined(items: Iterable[Item]) -> list[Item]:
    """Items, with those of one loop whose turns are single items joined: they are alike however many there are."""
    found: list[Item] = []
    for key, group in groupby(items, key=lambda item: item.key):
        turns = tuple(group)
        is_loop = len(turns) >= MIN_TIMES
        found += [Item(turns[0].first, turns[-1].end, ("loop", key), "", turns)] if is_loop else turns
    return found


def stops(rows: list[Row], position: int) -> list[int]:
    """The positions after each row: a closed function or a loop that we are not in is passed in one step."""
    found, at = [], 0
    for row in rows:
        if row.first < at:
            continue
        if row.shape == Shape.OPEN or (row.shape == Shape.LOOP and row.first < position < row.end):
            continue
        found.append(row.end)
        at = row.end
    return sorted({*found, *(row.end for row in rows if row.first < position < row.end)})
