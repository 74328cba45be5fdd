"""What a picture of a heap shows, gathered from a running one: spans, links between free blocks, free lists."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from heapwright.collections import Runtime
from heapwright.layout import Struct
from heapwright.machine import Block
from heapwright.machine.names import named
from heapwright.programs.watch import WORD, Eye, Step, is_pointer, pointers_in
from heapwright.spans import CACHED, FREE, KINDS, OWN, USED

NODES = 24  # of a free list that are told
NEAR = (0, -8, -16, 8, 16)  # where a free block's struct may begin, as seen from the start of its span


class Span(NamedTuple):
    """A stretch of the heap, in bytes; `kind` is a name of heapwright.spans.KINDS."""

    start: int
    size: int
    kind: str
    note: str = ""
    is_changed: bool = False

    @property
    def end(self) -> int:
        return self.start + self.size


class Chain(NamedTuple):
    """A free list from its head on: the names and addresses that a reader meets, the last one where it ends."""

    head: str
    nodes: tuple[str, ...]


@dataclass
class Scene:
    """What there is to draw. A link leads from a free block to the next one on its list, both as span starts."""

    spans: Sequence[Span]
    brk: int
    page: int
    links: Sequence[tuple[int, int]] = ()
    chains: Sequence[Chain] = field(default_factory=list)


class Look:
    """One look at a heap. A free block's node is the struct at its start, and its link the first pointer in that."""

    def __init__(self, runtime: Runtime, eye: Eye, step: Step | None = None):
        self.runtime, self.eye = runtime, eye
        self.spans = list(runtime.heap.spans())
        self.blocks = sorted(runtime.heap.live.values(), key=lambda block: block.address)
        self.addresses = [block.address for block in self.blocks]
        self.changed = changed_places(step) if step else set()
        self.links: dict[int, int] = {}  # from the start of a free span to what its node points to
        self.nodes: dict[int, int] = {}  # from a node to the start of its span
        for start, size, kind in self.spans:
            if kind in {FREE, CACHED}:
                self.find_link(start, size)

    def scene(self) -> Scene:
        process = self.runtime.heap.process
        return Scene(self.drawn_spans(), process.brk, process.space.page, self.arrows(), self.chains())

    # --- spans

    def drawn_spans(self) -> list[Span]:
        return [self.drawn(*part) for span in self.spans for part in self.parts(*span)]

    def parts(self, start: int, size: int, kind: int) -> list[tuple[int, int, int]]:
        """A span, cut where a block begins that is not the first one in it: some allocators cannot tell."""
        inner = [block.address for block in self.blocks_in(start, start + size)[1:]] if kind == USED else []
        cuts = [start, *inner, start + size]
        return [(low, high - low, kind) for low, high in pairwise(cuts)]

    def drawn(self, start: int, size: int, kind: int) -> Span:
        is_changed = any(start <= place < start + size for place in self.changed)
        return Span(start, size, KINDS[kind], self.note(start, size, kind), is_changed)

    def note(self, start: int, size: int, kind: int) -> str:
        if kind == USED:
            return "; ".join(map(self.told, self.blocks_in(start, start + size)))
        return f"-> {self.place_name(self.links[start])}" if start in self.links else ""

    def blocks_in(self, start: int, end: int) -> list[Block]:
        first, last = (bisect_right(self.addresses, place - 1) for place in (start, end))
        return self.blocks[first:last]

    def told(self, block: Block) -> str:
        owner = self.runtime.owners.get(block.address, "")
        return f"#{block.number} {owner and f'{owner}, '}{block.size:,} bytes at {block.address:#x}"

    # --- links

    def find_link(self, start: int, size: int) -> None:
        node = next((start + near for near in NEAR if start + near in self.eye.structs), None)
        offset = None if node is None else self.offset_of_link(node)
        if node is not None and offset is not None and start <= node + offset < start + size:
            self.nodes[node] = start
            self.links[start] = self.word(node + offset)

    def offset_of_link(self, node: int) -> int | None:
        struct = self.eye.structs.get(node)
        return next((offset for offset, _ in pointers_in(struct)), None) if struct else None

    def word(self, address: int) -> int:
        return int.from_bytes(self.runtime.heap.process.peek(address, WORD), "little", signed=True)

    def place_name(self, target: int) -> str:
        """A node by the start of its span; anything else by its own name."""
        return f"{self.nodes[target]:#x}" if target in self.nodes else self.eye.place_name(target)

    def arrows(self) -> list[tuple[int, int]]:
        return [(start, self.nodes[target]) for start, target in self.links.items() if target in self.nodes]

    # --- lists

    def chains(self) -> list[Chain]:
        """The free lists that begin in the allocator's own words and lead to a free block."""
        seen: set[int] = set()
        found = []
        for base, path, target in self.heads():
            if base in seen or target in seen:
                continue
            way = self.follow(target)
            if any(node in self.nodes for node in way):
                seen.update(way)
                found.append(Chain(path, (*map(self.place_name, way), *["…"] * (len(way) == NODES))))
        return found

    def heads(self) -> Iterator[tuple[int, str, int]]:
        """Words that may be the head of a list: the struct that each is in, its name, and where it leads."""
        words, struct = self.eye.own
        yield from self.heads_in(words, struct, "")
        for start, size, kind in self.spans:
            if kind == OWN:
                for base in sorted(base for base in self.eye.structs if start <= base < start + size):
                    known = self.eye.structs[base]
                    yield from self.heads_in(base, known, f"{known.__name__} at {base:#x}: ")

    def heads_in(self, base: int, struct: type[Struct], prefix: str) -> Iterator[tuple[int, str, int]]:
        for offset in range(0, struct.SIZE, WORD):
            target = self.word(base + offset)
            if target == 0:
                continue
            found = named(struct, offset)
            if target in self.nodes or is_pointer(found.kind):
                yield self.struct_around(base + offset), prefix + found.path, target

    def struct_around(self, address: int) -> int:
        """Where the innermost struct begins that a word is in."""
        return next((base for base in range(address, address - 64, -WORD) if base in self.eye.structs), address)

    def follow(self, node: int) -> list[int]:
        """The nodes along a list: to null, to one that was there already, or to what is no node."""
        way: list[int] = []
        while len(way) < NODES:
            repeats = node in way
            way.append(node)
            start = self.nodes.get(node)
            offset = self.offset_of_link(node) if self.is_own(node) else None
            if repeats or (start is None and offset is None):
                break
            node = self.links[start] if start is not None else self.word(node + (offset or 0))
        return way

    def is_own(self, address: int) -> bool:
        words, struct = self.eye.own
        return words <= address < words + struct.SIZE


def changed_places(step: Step) -> set[int]:
    """The words that an operation stored to, and the block it was about."""
    block = step.operation.arguments[0] if step.operation.name == "dealloc" else step.operation.result
    return {word.address for word in step.words.values() if word.stores} | ({block} if block else set())
