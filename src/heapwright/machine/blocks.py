"""The blocks of the user's program: the live ones by address, and the ones it freed last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from heapwright.machine.source import Place

REMEMBERED = 4096  # freed blocks kept for the text of a fault


@dataclass(slots=True, repr=False)
class Block:
    """One allocation: its address, the requested size in bytes, and the line that made it.

    >>> from heapwright import start
    >>> heap = start("kr")
    >>> block = heap.live[heap.alloc(24)]
    >>> block.size, block.number, block.is_live
    (24, 1, True)
    >>> print(block)
    live block #1 of 24 bytes at 0x13fe0
    """

    address: int
    size: int
    align: int
    number: int  # the n-th allocation of its process, from 1
    allocated: Place | None = None
    freed: Place | None = None
    is_live: bool = True

    @property
    def end(self) -> int:
        return self.address + self.size

    def __contains__(self, address: int) -> bool:
        return self.address <= address < self.end or address == self.address

    def __str__(self) -> str:
        state = "live" if self.is_live else "freed"
        return f"{state} block #{self.number} of {self.size} bytes at {self.address:#x}"

    def __repr__(self) -> str:
        return f"<{self}, {self.history()}>"

    def history(self) -> str:
        allocated = f"allocated at {self.allocated}" if self.allocated else "allocated"
        freed = f"freed at {self.freed}" if self.freed else "freed"
        return allocated if self.is_live else f"{allocated}, {freed}"


class Blocks:
    """The live blocks of a process, by address, and the last freed ones, oldest first."""

    def __init__(self) -> None:
        self.live: dict[int, Block] = {}
        self.freed: dict[int, Block] = {}
        self._numbers = count(1)

    def add(self, address: int, size: int, align: int, place: Place | None) -> Block:
        block = self.live[address] = Block(address, size, align, next(self._numbers), place)
        return block

    def retire(self, block: Block, place: Place | None) -> None:
        """Move a live block to the freed ones."""
        del self.live[block.address]
        block.is_live, block.freed = False, place
        self.freed.pop(block.address, None)
        self.freed[block.address] = block
        if len(self.freed) > REMEMBERED:
            del self.freed[next(iter(self.freed))]

    def holding(self, address: int) -> Block | None:
        """The live block that an address lies in, or else the freed block that was freed last."""
        for block in self.live.values():
            if address in block:
                return block
        return next((block for block in reversed(self.freed.values()) if address in block), None)

    def overlapping(self, start: int, end: int) -> Iterator[Block]:
        """The live blocks that overlap a range."""
        return (block for block in self.live.values() if block.address < end and start < block.end)

    def nearest(self, address: int, reach: int = 256) -> Block | None:
        """The block that an address lies in, or else the closest live one within `reach` bytes."""
        held = self.holding(address)
        if held is not None:
            return held
        near = [(min(abs(address - b.address), abs(address - b.end)), b.number, b) for b in self.live.values()]
        distance, _, block = min(near, default=(reach + 1, 0, None))
        return block if distance <= reach else None

    def copy(self) -> Blocks:
        twin = Blocks()
        twin.live = {address: replace(block) for address, block in self.live.items()}
        twin.freed = {address: replace(block) for address, block in self.freed.items()}
        twin._numbers = count(max((b.number for b in (*twin.live.values(), *twin.freed.values())), default=0) + 1)
        return twin
