"""The contents of a picture, gathered from a running heap: spans, links between free blocks, free lists."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from heapwright.collections import Runtime
from heapwright.collections.runtime import NOBODY
from heapwright.layout import AtomicKind, Pointer, StructMeta
from heapwright.machine import Block
from heapwright.machine.names import named
from heapwright.programs.naming import WORD, WordNames, pointers_in
from heapwright.programs.watch import Observer, OperationStep
from heapwright.spans import CACHED, FREE, KINDS, USED

NODES = 24  # of a free list that are shown


class Span(NamedTuple):
    """An extent of the heap, in bytes; `kind` is a name of heapwright.spans.KINDS."""

    start: int
    size: int
    kind: str
    note: str = ""
    is_changed: bool = False

    @property
    def end(self) -> int:
        return self.start + self.size


class Chain(NamedTuple):
    """A free list from its head on: the names and addresses along it, including the place where it ends."""

    head: str
    nodes: tuple[str, ...]


@dataclass
class Scene:
    """All there is to draw. A link leads from a free block to the next one on its list, both given as span starts."""

    spans: Sequence[Span]
    brk: int
    page: int
    links: Sequence[tuple[int, int]] = ()
    chains: Sequence[Chain] = field(default_factory=list)


class Sight(Protocol):
    """A heap that can be drawn: the running one, or a past one."""

    page: int
    brk: int
    live: dict[int, Block]

    def spans(self) -> Iterable[tuple[int, int, int]]:
        """The spans that `walk` yields: (start, size, kind)."""

    def lists(self) -> list[tuple[str, list[int]]] | None:
        """The lists that the allocator's `lists` yields; None if it has no `lists`."""

    def peek(self, address: int, size: int) -> bytes: ...

    def owner(self, address: int) -> str:
        """The type of the value that owns a live block, or ""."""


class Running:
    """The heap of a running program."""

    def __init__(self, runtime: Runtime):
        heap, process = runtime.heap, runtime.heap.process
        self.page, self.brk, self.live = process.space.page, process.brk, heap.live
        self.spans, self.lists, self.peek = heap.spans, heap.lists, process.peek
        self._owners = runtime.owners

    def owner(self, address: int) -> str:
        return self._owners.get(address, NOBODY).name


def look_at(runtime: Runtime, observer: Observer, step: OperationStep | None = None) -> Look:
    """A look at the heap of a running program, after a step."""
    return Look(Running(runtime), observer.names, changed_places(step) if step else set())


class Look:
    """One inspection of a heap. Its lists are those that the allocator's `lists` yields, if there is one.

    Otherwise a free block's node is the struct at its start, and its link is the first pointer in that struct. A list
    begins at a pointer to such a struct in the allocator's own words.
    """

    def __init__(self, heap: Sight, names: WordNames, changed: set[int]):
        self.heap, self.known, self.changed = heap, names, changed
        self.spans = list(heap.spans())
        self.blocks = sorted(heap.live.values(), key=lambda block: block.address)
        self.addresses = [block.address for block in self.blocks]
        self.nodes: set[int] = set()  # the starts of the spans that are in lists
        self.links: dict[int, int] = {}  # from a node to the address that it points to
        self.names: dict[int, str] = {}  # from a node to the name of its list, if `lists` gives it
        told = heap.lists()
        self.lists = self.found_lists() if told is None else [self.told_list(*each) for each in told]

    def scene(self) -> Scene:
        return Scene(self.drawn_spans(), self.heap.brk, self.heap.page, self.arrows(), self.lists)

    # --- spans

    def drawn_spans(self) -> list[Span]:
        return [self.drawn(*part) for span in self.spans for part in self.parts(*span)]

    def parts(self, start: int, size: int, kind: int) -> list[tuple[int, int, int]]:
        """A span, cut at each further block in it: some allocators do not know where blocks begin."""
        inner = [block.address for block in self.blocks_in(start, start + size)[1:]] if kind == USED else []
        cuts = [start, *inner, start + size]
        return [(low, high - low, kind) for low, high in pairwise(cuts)]

    def drawn(self, start: int, size: int, kind: int) -> Span:
        is_changed = any(start <= place < start + size for place in self.changed)
        return Span(start, size, KINDS[kind], self.note(start, size, kind), is_changed)

    def note(self, start: int, size: int, kind: int) -> str:
        if kind == USED:
            return "; ".join(map(self.told, self.blocks_in(start, start + size)))
        link = f"-> {self.known.place_name(self.links[start])}" if start in self.links else ""
        return "; ".join(filter(None, (link, self.names.get(start))))

    def blocks_in(self, start: int, end: int) -> list[Block]:
        first, last = (bisect_right(self.addresses, place - 1) for place in (start, end))
        return self.blocks[first:last]

    def told(self, block: Block) -> str:
        owner = self.heap.owner(block.address)
        return f"#{block.number} {owner and f'{owner}, '}{block.size:,} bytes at {block.address:#x}"

    # --- lists that the allocator yields

    def told_list(self, name: str, addresses: list[int]) -> Chain:
        starts = [self.start_of_span(address) for address in addresses]
        self.names.update(dict.fromkeys(starts, name))
        self.nodes.update(starts)
        self.links.update(pairwise(starts))
        return chain_of(name, [f"{start:#x}" for start in starts])

    def start_of_span(self, address: int) -> int:
        return self.spans[bisect_right(self.spans, address, key=lambda span: span[0]) - 1][0]

    # --- links that are found

    def find_link(self, start: int, size: int) -> None:
        offset = self.offset_of_link(start)
        if offset is not None and offset < size:
            self.nodes.add(start)
            self.links[start] = self.word(start + offset)

    def offset_of_link(self, node: int) -> int | None:
        struct = self.known.structs.get(node)
        return next((offset for offset, _ in pointers_in(struct)), None) if struct else None

    def word(self, address: int) -> int:
        return int.from_bytes(self.heap.peek(address, WORD), "little", signed=True)

    def arrows(self) -> list[tuple[int, int]]:
        return [(node, target) for node, target in self.links.items() if target in self.nodes]

    # --- lists that are found

    def found_lists(self) -> list[Chain]:
        """The free lists, each once."""
        for start, size, kind in self.spans:
            if kind in {FREE, CACHED}:
                self.find_link(start, size)
        seen: set[int] = set()
        found = []
        for base, path, target in self.heads():
            if base in seen or target in seen:
                continue
            way = self.follow(target)
            if any(node in self.nodes for node in way):
                seen.update(way)
                found.append(chain_of(path, [self.known.place_name(node) for node in way]))
        return found

    def heads(self) -> Iterator[tuple[int, str, int]]:
        """The heads of lists: the struct that contains each, its name, and the address that it points to."""
        words, struct = self.known.words, self.known.struct
        kinds = {self.known.structs[node] for node in self.nodes}
        for offset, path in pointers_in(struct):
            target = self.word(words + offset)
            if target and struct_at(named(struct, offset).kind) in kinds:
                yield self.struct_around(words + offset), path, target

    def struct_around(self, address: int) -> int:
        """The start of the innermost struct that contains a word."""
        return next((base for base in range(address, address - 64, -WORD) if base in self.known.structs), address)

    def follow(self, node: int) -> list[int]:
        """The nodes along a list, up to null, a node that was met already, or something that is not a node."""
        way: list[int] = []
        while len(way) <= NODES:
            repeats = node in way
            way.append(node)
            offset = self.offset_of_link(node) if node in self.nodes or self.known.is_own(node) else None
            if repeats or offset is None:
                break
            node = self.word(node + offset)
        return way


def chain_of(name: str, nodes: list[str]) -> Chain:
    """A list, up to the number of nodes that are shown."""
    return Chain(name, (*nodes[:NODES], *["…"] * (len(nodes) > NODES)))


def struct_at(kind: Any) -> StructMeta:
    """The struct that a pointer points to."""
    cell = kind.cell if isinstance(kind, AtomicKind) else kind
    assert isinstance(cell, Pointer)
    return cell.struct


def changed_places(step: OperationStep) -> set[int]:
    """The words that an operation stored to, and its block."""
    block = step.operation.arguments[0] if step.operation.name == "dealloc" else step.operation.result
    return {word.address for word in step.words.values() if word.stores} | ({block} if block else set())
