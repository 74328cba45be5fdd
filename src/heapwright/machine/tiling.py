"""The invariants of every heap: spans tile each extent, and used spans correspond to live blocks."""

from __future__ import annotations

from bisect import bisect_left

from heapwright.machine.blocks import Block
from heapwright.machine.fault import BrokenInvariant, Kind
from heapwright.machine.state import ProcessState
from heapwright.spans import KINDS, USED

Spans = list[tuple[int, int, int]]  # (start, size, kind)


def check_tiling(process: ProcessState, walked: list[tuple[int, int, Spans]], apart: bool = True) -> None:
    """Raise `BrokenInvariant` unless the spans of each extent (start, end, spans) match the live blocks.

    With `apart`, a used span holds one live block; without, any number of adjacent ones.
    """
    holders = Holders(process, apart)
    for start, end, spans in walked:
        check_cover(process, start, end, spans)
        for span in spans:
            holders.visit(*span)
    holders.all_visited()


def check_cover(process: ProcessState, start: int, end: int, spans: Spans) -> None:
    """Check that the spans of one extent follow each other without gap or overlap."""
    at = start
    for begin, size, kind in spans:
        if begin != at or size <= 0:
            broken(process, f"U5 walk tiles the extent: expected a span at {at:#x}, got {(begin, size, kind)}", at)
        at = begin + size
    if at != end:
        broken(process, f"U5 walk tiles the extent: it ends at {at:#x}, not at {end:#x}", at)


class Holders:
    """Matches used spans and live blocks. A block of no bytes may lie on the border of its span."""

    def __init__(self, process: ProcessState, apart: bool):
        self.process, self.apart = process, apart
        self.blocks = sorted(process.blocks.live.values(), key=lambda block: block.address)
        self.starts = [block.address for block in self.blocks]
        self.held: set[int] = set()

    def visit(self, start: int, size: int, kind: int) -> None:
        sized, empty = self.touching(start, start + size)
        if kind != USED:
            if sized:
                broken(self.process, f"U9 a {KINDS[kind]} span at {start:#x} holds the {sized[0]}", sized[0].address)
            return
        if self.apart and len(sized) > 1:
            broken(self.process, f"U3 the used span at {start:#x} holds the {sized[0]} and the {sized[1]}", start)
        holds = (sized or empty[:1]) if self.apart else sized + empty
        if not holds:
            broken(self.process, f"U9 the used span of {size} bytes at {start:#x} holds no live block", start)
        for block in holds:
            if block.address < start or block.end > start + size:
                broken(self.process, f"U2 the {block} sticks out of the used span at {start:#x}", block.address)
            self.held.add(block.address)

    def touching(self, start: int, end: int) -> tuple[list[Block], list[Block]]:
        """The live blocks with bytes in a range, and the blocks of no bytes in or at it that no span holds yet."""
        first = bisect_left(self.starts, start)
        if first and self.blocks[first - 1].end > start:
            first -= 1
        last = bisect_left(self.starts, end + 1)
        near = self.blocks[first:last]
        sized = [block for block in near if block.size and block.address < end]
        return sized, [block for block in near if not block.size and block.address not in self.held]

    def all_visited(self) -> None:
        for block in self.blocks:
            if block.address not in self.held:
                broken(self.process, f"U9 no used span holds the {block}", block.address)


def broken(process: ProcessState, what: str, address: int) -> None:
    raise BrokenInvariant(Kind.INVARIANT, what, process, address)
