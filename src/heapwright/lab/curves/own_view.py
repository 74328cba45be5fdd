"""A heap of ours: its extents, which the worker walks with the allocator's own compiled `walk`.

The walk needs the memory that sbrk gave and each mapping of the heap. A mapping is the heap's if it was not there
before the first event, because nothing else in the worker maps memory afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heapwright.allocator import load
from heapwright.errors import AllocatorError
from heapwright.lab.curves.parts import Holes, IdentityError, Told
from heapwright.live.elf import Elf
from heapwright.live.look import gaps_in
from heapwright.live.mappings import Mapping
from heapwright.live.memory import Image
from heapwright.live.own import CARD, card_at, find_own
from heapwright.live.process import Process
from heapwright.live.structs import Card
from heapwright.native.jobs.curves_job import MAX_EXTENTS, SQUARES
from heapwright.native.runtime.kernel import Runtime

Range = tuple[int, int]


def stack_in(library: Path) -> str:
    """The stack that a library was compiled from, if its source is here; "" otherwise."""
    elf = Elf(library.read_bytes(), str(library))
    card = elf.find(CARD)
    if card is None:
        return ""
    spec = elf.bytes_at(card.address + Card.SIZE, card.size - Card.SIZE).partition(b"\0")[0].decode()
    try:
        return load(spec).spec
    except AllocatorError:
        return ""


class OwnView:
    """The extents of a heap of ours, for the worker's walk."""

    source = "the heap's own walk"

    def __init__(self) -> None:
        self._before: list[Range] = []
        self._held: list[int] = []
        self._card = self._counter = 0

    def begin(self, process: Process, job: Any) -> None:
        """Note what is mapped before the first event, and tell the worker where the heap and its counter are."""
        image = Image(process)
        own = find_own(image)
        if own is None:
            return
        self._before = [(mapping.start, mapping.end) for mapping in data_of(process)]
        self._card = own.module.address_of(CARD)
        self._counter = counter_of(card_at(image, self._card))
        if image.word(self._counter):
            raise IdentityError("the heap holds memory before the first event")
        job.heap, job.held_words[0] = own.heap.address, self._counter

    def look(self, process: Process, job: Any) -> None:
        """Give the worker the heap's extents."""
        image = Image(process)
        extents = self._extents(process, card_at(image, self._card), image)
        if len(extents) > MAX_EXTENTS:
            raise IdentityError(f"the heap has {len(extents):,} extents, and at most {MAX_EXTENTS:,} are walked")
        job.extents = len(extents)
        for index, (start, end) in enumerate(extents):
            job.extent[index].start, job.extent[index].end = start, end
        self._held.append(image.word(self._counter))

    def _extents(self, process: Process, card: Any, image: Image) -> list[Range]:
        """What sbrk gave, and the mappings that were not there before the first event."""
        start, end = image.word(card.section), image.word(card.top)
        new = [gap for mapping in data_of(process) for gap in gaps_in(mapping, touching(mapping, self._before))]
        return [(start, end)] * (start < end) + [(gap.start, gap.end) for gap in new]

    def told(self, number: int, sample: Any) -> Told | None:
        parts = sample.parts
        if parts.broken:
            raise IdentityError(f"the walk does not go on at {parts.broken:#x}")
        holes = Holes(parts.free, parts.largest_free, parts.squares * SQUARES**2, tuple(parts.suitable))
        rest = parts.free - parts.free_pages
        return Told(self._held[number], parts.cached, parts.free_pages, rest, parts.own, parts.used, holes)


def counter_of(card: Any) -> int:
    """The address of the word in which the runtime counts the bytes held. The card names the first of its words."""
    return int(card.start) - Runtime.fields["start"].offset + Runtime.fields["mapped"].offset


def data_of(process: Process) -> list[Mapping]:
    """The mappings in which a heap may lie, but for the break's."""
    return [each for each in process.mappings.joined if each.is_private_data and not each.path.startswith("[")]


def touching(mapping: Mapping, ranges: list[Range]) -> list[Range]:
    return [each for each in ranges if each[0] < mapping.end and each[1] > mapping.start]
