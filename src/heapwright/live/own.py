"""heapwright's own allocators in a running program: their `walk`, `check` and `lists`, over its memory.

A library that heapwright has compiled carries a card: where the heap's words are, where the runtime notes what sbrk
gave, and the stack that was compiled. The stack is loaded from its source, and its functions run here as they do in the
simulated process. Memory is walked extent by extent: what sbrk gave, then each anonymous mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from heapwright.allocator import Allocator, load, name_of, parse
from heapwright.errors import AllocatorError
from heapwright.live.errors import InspectError, Unreadable
from heapwright.live.extent import Extent, copy_of
from heapwright.live.mappings import Mapping
from heapwright.live.memory import Image, Misuse
from heapwright.live.registers import own_words
from heapwright.live.rehearsal import Rehearsal
from heapwright.live.source import Module, Source
from heapwright.live.structs import Card
from heapwright.variants import base_of

CARD = "heapwright_card"
BROKEN = (Unreadable, Misuse, AssertionError, IndexError, OverflowError, ValueError)

Span = tuple[int, int, int]  # start, size in bytes, kind as `heapwright.spans` has it


@dataclass
class OwnHeap:
    """One heap of ours: its allocator, its words, and the extents that it has."""

    image: Image
    module: Module
    allocator: Allocator
    heap: Any
    extents: list[Extent] = field(default_factory=list)

    @property
    def spec(self) -> str:
        return self.allocator.spec


def find_own(image: Image) -> OwnHeap | None:
    """The heap of ours that a process runs on; None if it runs on another."""
    for module in image.source.modules():
        address = module.address_of(CARD)
        if address:
            card = card_at(image, address)
            allocator = loaded(image.text_at(address + Card.SIZE), module, image.source)
            image.section = (image.word(card.start), image.word(card.section), image.word(card.top))
            return OwnHeap(image, module, allocator, allocator.Heap(image, card.heap))
    return None


def card_at(image: Any, address: int) -> Any:
    return Card(image, address)


def loaded(spec: str, module: Module, source: Source) -> Allocator:
    """The stack that a card names, from its source."""
    try:
        return load(rooted(spec, Path(f"/proc/{source.pid}/cwd")))
    except AllocatorError as error:
        what = f"{module.path} is the heap {spec}, whose source is not here: {error}"
        raise InspectError(f"{what}; inspect it from the folder in which it was built") from error


def rooted(spec: str, folder: Path) -> str:
    """The same stack, with the files that are found from the program's working directory under their full paths."""
    names = [under(folder, name) if "/" in name or ".py" in name else name for name in parse(spec)]
    return "(".join(names) + ")" * (len(names) - 1)


def under(folder: Path, name: str) -> str:
    """Where a user's allocator is: the card's path may be of another file with the same name and contents."""
    base = base_of(name)
    places = (folder.resolve() / each for each in (base, f"{name_of(base)}.py", name_of(base)))
    return next((f"{place}{name.removeprefix(base)}" for place in places if place.exists()), name)


# --- extents


def copy_extents(own: OwnHeap, mappings: Iterable[Mapping]) -> None:
    """Copy what sbrk gave, the mappings, and the first thread's words; the program stands still meanwhile."""
    own.image.words = own_words(own.image, own.module, len(own.image.words))
    start, section, top = own.image.section
    if start:
        own.extents.append(copy_of(own.image.source, section & -4096, top + 4095 & -4096))
    own.extents += [
        copy_of(own.image.source, mapping.start, mapping.end) for mapping in mappings if mapping.resident != 0
    ]
    for extent in own.extents:
        own.image.adopt(extent)


def bounds_of(own: OwnHeap, extent: Extent) -> tuple[int, int]:
    """Where the heap's part of an extent begins and ends: the break need not lie on a page."""
    _, section, top = own.image.section
    if extent.start <= section < extent.end:
        return section, top
    return extent.start, extent.end


def spans_of(own: OwnHeap, extent: Extent) -> list[Span]:
    """What the allocator's `walk` says of an extent, as far as its spans tile it: the rest is not the heap's."""
    start, end = bounds_of(own, extent)
    found: list[Span] = []
    try:
        for span in islice(own.allocator.walk(own.heap, start, end), (end - start) // 8 + 1):
            if span[0] != start or not 0 < span[1] <= end - start:
                break
            found.append(span)
            start += span[1]
    except BROKEN:
        pass
    return found if 2 * start > sum(bounds_of(own, extent)) else []  # else it is somebody else's


def damage_in(own: OwnHeap) -> Iterator[tuple[int, str]]:
    """The invariants that are broken, as the allocator's `check` names them, by extent."""
    for extent in own.extents[:1]:
        try:
            own.allocator.check(own.heap, *bounds_of(own, extent))
        except AssertionError as error:
            yield extent.start, str(error)
        except BROKEN as error:
            yield extent.start, f"check cannot go on: {error}"


def given_by_trim(own: OwnHeap) -> tuple[list[tuple[int, int]], int] | None:
    """The pages that the heap's `trim` would give back, and the bytes that it would take for smaller tables.

    They are found by executing it over a copy. None if it cannot end.
    """
    trim = getattr(own.allocator.module, "trim", None)
    rehearsal: Any = Rehearsal(own.image)
    try:
        if trim:
            trim(own.allocator.Heap(rehearsal, own.heap.address), 0)
    except BROKEN:
        return None
    return sorted(rehearsal.given), rehearsal.taken


def lists_of(own: OwnHeap) -> list[tuple[str, list[int]]]:
    """The free lists that the allocator tells of; none if it does not."""
    tell = getattr(own.allocator.module, "lists", None)
    return list(tell(own.heap)) if tell else []
