"""The leaks of a program: where they were allocated, and the ownership cycles among them.

An Rc that owns itself through other values is never dropped. Cycles are found by the types of the values in the leaked
blocks: each container lists the blocks that it owns and the containers in them. So a cycle may lead through a Vec, a
map or a Box, but never through a Weak, which owns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from heapwright.collections.runtime import NOBODY, Container, Holdings, Runtime
from heapwright.machine import Block


class Link(NamedTuple):
    """One block of a cycle, and the type of its owner."""

    block: Block
    owner: str

    def __str__(self) -> str:
        return f"{self.owner or 'a block'} at {self.block.address:#x}"


class Leak(NamedTuple):
    """A block that is live at a program's end, with the type of its owner."""

    block: Block
    owner: str
    circle: tuple[Link, ...] = ()  # the blocks that own each other, this one first

    def as_dict(self) -> dict[str, Any]:
        """The leak as plain values."""
        return {
            "address": self.block.address,
            "size": self.block.size,
            "owner": self.owner,
            "allocated": str(self.block.allocated),
            "circle": [link.block.address for link in self.circle],
        }

    def __str__(self) -> str:
        block = self.block
        line = f"{self.owner or 'a block'}, {block.size} bytes at {block.address:#x}, allocated at {block.allocated}"
        if not self.circle:
            return line
        way = " -> ".join(map(str, (*self.circle, self.circle[0])))
        return f"{line}, keeps itself alive: {way}"


def find_leaks(runtime: Runtime) -> list[Leak]:
    """The leaks of a process, without blocks that it inherited."""
    live = runtime.heap.leaks()
    inherited = runtime.parent.owners if runtime.parent else {}
    graph = Graph(runtime, live)
    return [
        Leak(block, graph.link(block.address).owner, tuple(map(graph.link, graph.circle(block.address))))
        for block in live
        if block.address not in inherited
    ]


class Graph:
    """The graph of leaked blocks and the blocks that they own, by address."""

    def __init__(self, runtime: Runtime, blocks: list[Block]):
        self.runtime = runtime
        self.blocks = {block.address: block for block in blocks}
        self.targets: dict[int, list[int]] = {address: [] for address in self.blocks}
        self._follow(list(self._known_contents()))
        self._cut_dead_ends()

    def link(self, address: int) -> Link:
        return Link(self.blocks[address], self.runtime.owners.get(address, NOBODY).name)

    def circle(self, start: int) -> list[int]:
        """The shortest cycle from a block back to itself, without its end; empty if there is none."""
        came_from: dict[int, int] = {}
        front = [start]
        while front and start not in came_from:
            steps = [(target, address) for address in front for target in self.targets[address]]
            front = []
            for target, address in steps:
                if target not in came_from:
                    came_from[target] = address
                    front.append(target)
        return self._way_back(start, came_from) if start in came_from else []

    def _known_contents(self) -> Holdings:
        """The blocks whose contents are known without their owner, each with the containers in it."""
        for address in self.blocks:
            contents = self.runtime.owners.get(address, NOBODY).contents
            if contents is not None:
                yield address, contents.containers(self.runtime, address)

    def _follow(self, pending: list[tuple[int, Iterator[Container]]]) -> None:
        """Add the blocks that these own, and so on."""
        entered = {address for address, _ in pending}
        while pending:
            address, containers = pending.pop()
            for target, inside in (holding for container in containers for holding in container.holdings()):
                if target not in self.blocks:
                    continue
                self.targets[address].append(target)
                if target not in entered:
                    entered.add(target)
                    pending.append((target, inside))

    def _cut_dead_ends(self) -> None:
        """Remove links to blocks that lead to no cycle, so that `circle` need not try them."""
        owners: dict[int, list[int]] = {address: [] for address in self.targets}
        for address, targets in self.targets.items():
            for target in targets:
                owners[target].append(address)
        open_ways = {address: len(targets) for address, targets in self.targets.items()}
        dead = [address for address, count in open_ways.items() if count == 0]
        for address in dead:
            for owner in owners[address]:
                open_ways[owner] -= 1
                if open_ways[owner] == 0:
                    dead.append(owner)
        ended = set(dead)
        for address, targets in self.targets.items():
            self.targets[address] = [target for target in targets if target not in ended]

    def _way_back(self, start: int, came_from: dict[int, int]) -> list[int]:
        way, address = [], came_from[start]
        while address != start:
            way.append(address)
            address = came_from[address]
        return [start, *reversed(way)]
