"""What a program leaves behind: its leaks, where they were allocated, and the circles of Rc among them.

An Rc that is owned by what it owns is never dropped. The circles are found as a conservative collector would:
a word of a leaked block that holds the address of a leaked Rc's block is taken for a pointer to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from heapwright.collections.runtime import Runtime
from heapwright.collections.types import POINTER
from heapwright.machine import Block


class Leak(NamedTuple):
    """A live block at a program's end, with the type of its owner."""

    block: Block
    owner: str
    circle: tuple[Block, ...] = ()  # of Rc that keep it alive, itself the first

    def as_dict(self) -> dict[str, Any]:
        """The same in plain values."""
        return {
            "address": self.block.address,
            "size": self.block.size,
            "owner": self.owner,
            "allocated": str(self.block.allocated),
            "circle": [block.address for block in self.circle],
        }

    def __str__(self) -> str:
        block = self.block
        line = f"{self.owner or 'a block'}, {block.size} bytes at {block.address:#x}, allocated at {block.allocated}"
        if not self.circle:
            return line
        way = " -> ".join(f"{each.address:#x}" for each in (*self.circle, block))
        return f"{line}, keeps itself alive: {way}"


def find_leaks(runtime: Runtime) -> list[Leak]:
    """The leaks of a process, without those that it was born with."""
    live = runtime.heap.leaks()
    inherited = runtime.parent.owners if runtime.parent else {}
    graph = Graph(runtime, live)
    return [
        Leak(block, runtime.owners.get(block.address, ""), graph.circle(block))
        for block in live
        if block.address not in inherited
    ]


class Graph:
    """Which leaked Rc points to which: blocks by address."""

    def __init__(self, runtime: Runtime, blocks: list[Block]):
        owners = runtime.owners
        self.blocks = {block.address: block for block in blocks if owners.get(block.address, "").startswith("Rc<")}
        self.targets = {address: self.pointers_in(runtime, block) for address, block in self.blocks.items()}

    def pointers_in(self, runtime: Runtime, block: Block) -> list[int]:
        data = runtime.heap.process.peek(block.address, block.size)
        words = (int.from_bytes(data[at : at + POINTER], "little") for at in range(0, len(data), POINTER))
        return [word for word in words if word in self.blocks]

    def circle(self, block: Block) -> tuple[Block, ...]:
        """The shortest way from a block back to itself; empty if there is none."""
        came_from: dict[int, int] = {}
        front = [block.address] if block.address in self.blocks else []
        while front and block.address not in came_from:
            step = [(target, address) for address in front for target in self.targets[address]]
            front = []
            for target, address in step:
                if target not in came_from:
                    came_from[target] = address
                    front.append(target)
        return self.way_back(block.address, came_from) if block.address in came_from else ()

    def way_back(self, start: int, came_from: dict[int, int]) -> tuple[Block, ...]:
        way, address = [], came_from[start]
        while address != start:
            way.append(self.blocks[address])
            address = came_from[address]
        return (self.blocks[start], *reversed(way))
