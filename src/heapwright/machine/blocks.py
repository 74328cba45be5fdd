"""What the user's program holds: the live blocks by address, and the ones it freed last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

from heapwright.machine.source import Place

REMEMBERED = 4096  # freed blocks kept for the text of a fault


@dataclass(slots=True)
class Block:
    """One allocation. Sizes are in bytes; `size` is what the caller asked for."""

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

    def history(self) -> str:
        allocated = f"allocated at {self.allocated}" if self.allocated else "allocated"
        return allocated if self.is_live else f"{allocated}, freed at {self.freed}"


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
        """A live block is freed."""
        del self.live[block.address]
        block.is_live, block.freed = False, place
        self.freed.pop(block.address, None)
        self.freed[block.address] = block
        if len(self.freed) > REMEMBERED:
            del self.freed[next(iter(self.freed))]

    def holding(self, address: int) -> Block | None:
        """The live block an address lies in, or else the one freed last."""
        for block in self.live.values():
            if address in block:
                return block
        return next((block for block in reversed(self.freed.values()) if address in block), None)

    def nearest(self, address: int, reach: int = 256) -> Block | None:
        """The block an address lies in, or else the live one that is closest, within `reach` bytes."""
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
