"""What one look at a process or a core found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, Numbers
from heapwright.live.glibc.heap import ArenaCopy, Heap
from heapwright.live.glibc.mapped import MappedChunk
from heapwright.live.glibc.states import Chunks
from heapwright.live.kinds import Kinds
from heapwright.live.memory import Image
from heapwright.live.own import OwnHeap
from heapwright.live.parts import Account, Figures
from heapwright.live.pause import Pauses
from heapwright.live.pins import Group, GroupSums
from heapwright.live.python.heap import PythonHeap
from heapwright.live.regions import Hole, Region
from heapwright.live.source import Module, Registers, Source
from heapwright.live.statistics import Statistics

Range = tuple[int, int]


@dataclass
class Options:
    """What to read and how."""

    pause: bool = True
    swapped: bool = False
    data: bool = False  # copy all data too, to look for leaks and pointers


@dataclass
class ArenaFigures:
    """One arena in numbers."""

    name: str
    is_main: bool
    segments: int
    system_bytes: int
    was_held: bool  # its lock was held at every attempt to read it
    walked_bytes: int = 0
    chunks: int = 0
    live_bytes: int = 0
    free_bytes: int = 0
    resident_free_bytes: int = 0

    @staticmethod
    def of(arena: ArenaCopy) -> ArenaFigures:
        """An arena of which no chunk is counted yet."""
        return ArenaFigures(arena.name, arena.is_main, len(arena.sections), arena.system_bytes, arena.was_held)


class BlockList(NamedTuple):
    """Live blocks of one heap by address: where the caller's bytes start and end."""

    heap: str
    starts: Numbers
    ends: Numbers


@dataclass
class Look:
    """What one look found. Bytes; `account` has the parts of all the memory."""

    source: Source
    image: Image
    account: Account
    tally: GroupSums
    kinds: Kinds
    pauses: Pauses | None
    time: float = field(default_factory=time.time)
    allocator: str = "unknown"
    stacks: list[Range] = field(default_factory=list)  # of threads, the first one's apart
    recognised: list[str] = field(default_factory=list)
    foreign: str = ""  # the allocator that has the data which no heap that was read has
    statistics: list[Statistics] = field(default_factory=list)
    heaps: list[Heap] = field(default_factory=list)
    own: OwnHeap | None = None
    other_blocks: list[BlockList] = field(default_factory=list)  # of heaps other than glibc's
    python_blocks: BlockList | None = None  # in CPython's arenas
    data: list[Extent] = field(default_factory=list)  # copies of what is no heap, where leaks are looked for
    registers: dict[int, Registers] = field(default_factory=dict)  # of each thread when the data were copied
    heap_ranges: list[Range] = field(default_factory=list)  # of heaps whose free memory is copied with the data
    leaks: list[Group] | None = None
    chunks: list[Chunks] = field(default_factory=list)
    mapped: list[MappedChunk] = field(default_factory=list)
    arenas: list[ArenaFigures] = field(default_factory=list)
    python: PythonHeap | None = None
    returnable: Figures = Figures()
    regions: list[Region] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # of live blocks: class to count and bytes
    damage: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_counters(self, name: str, read: Callable[[Image, Module], Statistics | None], module: Module) -> None:
        """Add the figures that an allocator's counters tell; none but its name if they cannot be read."""
        try:
            figures = read(self.image, module)
        except Unreadable:
            figures = None
        self.statistics.append(figures or Statistics(name))
