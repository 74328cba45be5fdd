"""The call stacks of a recording: from what its processes recorded (`explained`) to the stacks of a trace.

The processes have one trace's stacks in common. Each process has its own numbers, so each event's number is exchanged.
A program has hundreds of thousands of stacks. So all steps but the look-up of functions work on whole arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from heapwright.traces import raw_stacks
from heapwright.traces.arrays import I64, U32, np
from heapwright.traces.code import lines_of
from heapwright.traces.explained import Explained
from heapwright.traces.stacks import PYTHON, Frame, Stacks, as_numbers
from heapwright.traces.symbols import ModuleFile

CUT = Frame("[more callers]")
LOST = Frame("[unknown callers]")
MARKS = {raw_stacks.CUT_FRAME: CUT, raw_stacks.LOST_FRAME: LOST}

Symbolizer = Callable[[ModuleFile, int], list[Frame]]


class Needed(NamedTuple):
    """The stacks of a process that its events name, with all their callers. The first one is the empty stack."""

    callers: I64  # their places here, which are lower
    values: I64
    asked: I64  # the place of each stack that an event names; 0 for what nothing explains


class Tree(NamedTuple):
    """Frames, each called from another one; 0 is not a frame, and the callers of the outermost ones."""

    callers: I64  # lower than the frame
    frames: I64


def translate(
    asked: Iterable[tuple[Explained, U32]], symbolize: Symbolizer, depth: int = 0
) -> tuple[Stacks, list[U32]]:
    """The stacks of a trace, and for the stacks that each process asks for, their numbers there.

    A number is 0 for what nothing explains. If `depth` is not 0, only so many frames of a longer stack are kept. All
    processes are translated at once.
    """
    names = Names(cache(symbolize))  # the processes of a run share modules
    callers, runs, ends = [np.zeros(1, "i8")], [np.zeros(1, "i8")], [0]
    places = []
    for explained, numbers in asked:
        needed = needed_for(explained, numbers, depth)
        shift = ends[-1]
        callers.append(shifted(needed.callers[1:], shift))
        places.append(shifted(needed.asked, shift))
        runs.append(names.runs_of(explained, needed.values[1:]))
        ends.append(shift + len(needed.values) - 1)
    tree, innermost = expanded(np.concatenate(callers), np.concatenate(runs), names)
    stacks, numbers_of = unified(tree, list(names.numbers))
    return stacks, [numbers_of[innermost[each]].astype("u4") for each in places]


def shifted(places: I64, by: int) -> I64:
    """Places of one process as places of all; 0 stays 0."""
    moved: I64 = np.where(places, places + by, 0)
    return moved


def needed_for(explained: Explained, numbers: U32, depth: int = 0) -> Needed:
    """What a process needs to explain the stacks with these numbers. A `depth` that is not 0 limits their frames."""
    callers, values = explained.stacks()
    known = np.where(numbers < len(values), numbers, 0)
    known[values[known] == 0] = 0
    whole = pruned(Needed(callers.astype("i8"), values, known.astype("i8")))
    return pruned(cut(whole, depth)) if depth else whole


def pruned(stacks: Needed) -> Needed:
    """Stacks without those that are neither asked for nor callers."""
    is_needed = np.zeros(len(stacks.values), bool)
    is_needed[0] = True
    more = np.unique(stacks.asked)  # later, one may be there several times: that costs less than to find it
    while len(more := more[~is_needed[more]]):
        is_needed[more] = True
        more = stacks.callers[more]
    found, places = np.flatnonzero(is_needed), np.cumsum(is_needed) - 1
    return Needed(places[stacks.callers[found]], stacks.values[found], places[stacks.asked])


def cut(stacks: Needed, depth: int) -> Needed:
    """The innermost `depth` frames of stacks that are longer, under a mark for their callers.

    They are made level by level, each from the callers of the one inside it. A stack that others have at the same level
    is there once.
    """
    is_deep = depths(stacks.callers)[stacks.asked] > depth
    if not is_deep.any():
        return stacks
    levels, ups = [np.unique(stacks.asked[is_deep])], []
    for _ in range(depth - 1):
        outer, up = np.unique(stacks.callers[levels[-1]], return_inverse=True)
        levels.append(outer)
        ups.append(up.reshape(-1))
    mark = len(stacks.values)
    starts = mark + 1 + np.cumsum([0, *(len(level) for level in reversed(levels))])[-2::-1]
    outermost = np.full(len(levels[-1]), mark)
    callers = [outermost, *(start + up for start, up in zip(starts[:0:-1], reversed(ups), strict=True))]
    asked = stacks.asked.copy()
    asked[is_deep] = starts[0] + np.searchsorted(levels[0], asked[is_deep])
    values = [stacks.values[level] for level in reversed(levels)]
    return Needed(
        np.concatenate((stacks.callers, [0], *callers)),
        np.concatenate((stacks.values, [raw_stacks.CUT_FRAME], *values)),
        asked,
    )


class Names:
    """The frames of a trace, and the runs of frames that the values of stacks stand for: one and its inlined ones."""

    def __init__(self, symbolize: Symbolizer):
        self._symbolize = symbolize
        self.numbers: dict[Frame, int] = {}
        self.runs: list[list[int]] = [[]]  # numbers of frames, the outermost first; the first run is that of no value

    def runs_of(self, explained: Explained, values: I64) -> I64:
        """The number of the run of each value of a process."""
        each, places = np.unique(values, return_inverse=True)
        is_python = each & raw_stacks.PYTHON_FRAME != 0
        runs = np.zeros(len(each), "i8")
        for which, frames in (
            (~is_python, [native_frames(explained, value, self._symbolize) for value in each[~is_python].tolist()]),
            (is_python, [[frame] for frame in python_frames(explained, each[is_python])]),
        ):
            runs[which] = np.arange(len(self.runs), len(self.runs) + len(frames))
            self.runs += [[self._number_of(frame) for frame in reversed(run)] for run in frames]
        return runs[places.reshape(-1)]

    def _number_of(self, frame: Frame) -> int:
        return self.numbers.setdefault(frame, len(self.numbers))


def native_frames(explained: Explained, value: int, symbolize: Symbolizer) -> list[Frame]:
    """The frames that a value stands for, the innermost first: inlined functions have frames, too."""
    if value in MARKS:
        return [MARKS[value]]
    module, offset = divmod(value, 1 << raw_stacks.MODULE_SHIFT)
    return symbolize(explained.module(module), offset - 1) if module else [Frame(f"{value:#x}")]


def python_frames(explained: Explained, values: I64) -> list[Frame]:
    """The frames that values of Python stand for."""
    numbers, offsets = np.divmod(values - raw_stacks.PYTHON_FRAME, 1 << raw_stacks.CODE_SHIFT)
    distinct, which = np.unique(numbers, return_inverse=True)
    codes = [explained.code(number) for number in distinct.tolist()]
    which = which.reshape(-1)
    lines = lines_of(codes, which, offsets).tolist()
    chosen = [codes[place] for place in which.tolist()]
    return [Frame(code.name, code.file, line, language=PYTHON) for code, line in zip(chosen, lines, strict=True)]


def expanded(callers: I64, runs: I64, names: Names) -> tuple[Tree, I64]:
    """The tree of the frames of stacks, each of which is a run of frames under its caller; and their innermost frames.

    Stack 0, which is empty, has frame 0.
    """
    lengths, frames = np.array([len(run) for run in names.runs]), [number for run in names.runs for number in run]
    length = lengths[runs]
    ends = np.cumsum(length)
    innermost = np.where(length, ends, 0)
    starts = np.cumsum(lengths) - lengths
    places = np.repeat(starts[runs] - ends + length, length) + np.arange(ends[-1])
    outer = np.arange(ends[-1])
    has_frames = length > 0
    outer[(ends - length)[has_frames]] = innermost[callers[has_frames]]
    numbers = np.array([0, *frames], "i8")
    return Tree(np.concatenate(([0], outer)), np.concatenate(([0], numbers[1 + places]))), innermost


def unified(tree: Tree, frames: list[Frame]) -> tuple[Stacks, I64]:
    """Stacks, of which each is there once, and the number of the stack of each node of the tree.

    Equal stacks have equally many frames and the same caller, so those with fewer frames come first.
    """
    depth = depths(tree.callers)
    order = np.argsort(depth, kind="stable")
    levels = np.split(order, np.searchsorted(depth[order], np.arange(1, depth.max() + 1)))
    number = np.zeros(len(depth), "i8")
    found, count = [np.zeros(1, "i8")], 1
    for level in levels[1:]:
        pairs = number[tree.callers[level]] * len(frames) + tree.frames[level]
        fresh, places = np.unique(pairs, return_inverse=True)
        number[level] = count + places.reshape(-1)
        found.append(fresh)
        count += len(fresh)
    callers, innermost = np.divmod(np.concatenate(found), max(1, len(frames)))
    return Stacks(frames, as_numbers(callers), as_numbers(innermost)), number


def depths(callers: I64) -> I64:
    """The number of frames from each node of a tree to its root. The path that is counted doubles with each step."""
    depth = np.ones(len(callers), "i8")
    depth[0] = 0
    jump = callers
    while jump.any():
        depth += depth[jump]
        jump = jump[jump]
    return depth
