"""The invariants of every heap: spans tile each extent, and used spans correspond to live blocks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import NoReturn

from heapwright.machine.blocks import Block
from heapwright.spans import KINDS, USED

Spans = list[tuple[int, int, int]]  # (start, size, kind)
Broken = Callable[[str, int], NoReturn]  # raises an error with a sentence about an address


def check_tiling(
    live: Mapping[int, Block], walked: list[tuple[int, int, Spans]], broken: Broken, apart: bool = True
) -> None:
    """Call `broken` unless the spans of each extent (start, end, spans) match the live blocks.

    With `apart`, a used span holds one live block; without, any number of adjacent ones.
    """
    holders = Holders(live, broken, apart)
    for start, end, spans in walked:
        check_cover(broken, start, end, spans)
        for span in spans:
            holders.visit(*span)
    holders.all_visited()


def check_cover(broken: Broken, start: int, end: int, spans: Spans) -> None:
    """Check that the spans of one extent follow each other without gap or overlap."""
    at = start
    for begin, size, kind in spans:
        if begin != at or size <= 0:
            broken(f"U5 walk tiles the extent: expected a span at {at:#x}, got {(begin, size, kind)}", at)
        at = begin + size
    if at != end:
        broken(f"U5 walk tiles the extent: it ends at {at:#x}, not at {end:#x}", at)


class Holders:
    """Matches used spans and live blocks. A block of no bytes may lie on the border of its span."""

    def __init__(self, live: Mapping[int, Block], broken: Broken, apart: bool):
        self.broken, self.apart = broken, apart
        self.blocks = sorted(live.values(), key=lambda block: block.address)
        self.starts = [block.address for block in self.blocks]
        self.held: set[int] = set()

    def visit(self, start: int, size: int, kind: int) -> None:
        sized, empty = self.touching(start, start + size)
        if kind != USED:
            if sized:
                self.broken(f"U9 a {KINDS[kind]} span at {start:#x} holds the {sized[0]}", sized[0].address)
            return
        if self.apart and len(sized) > 1:
            self.broken(f"U3 the used span at {start:#x} holds the {sized[0]} and the {sized[1]}", start)
        holds = (sized or empty[:1]) if self.apart else sized + empty
        if not holds:
            self.broken(f"U9 the used span of {size} bytes at {start:#x} holds no live block", start)
        for block in holds:
            if block.address < start or block.end > start + size:
                self.broken(f"U2 the {block} sticks out of the used span at {start:#x}", block.address)
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
                self.broken(f"U9 no used span holds the {block}", block.address)
