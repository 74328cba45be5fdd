"""One look at a process or a core: every heap in it, and where all its memory is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from heapwright.live.advice import mib
from heapwright.live.errors import InspectError, Unreadable
from heapwright.live.extent import copy_of
from heapwright.live.findings import Look, Options, Range
from heapwright.live.glibc.find import Found, find_heaps, version_of
from heapwright.live.glibc.heap import ArenaCopy, Heap, copy_arenas
from heapwright.live.glibc.lost import add_lost
from heapwright.live.glibc.mapped import MappedChunk, accounted, mapped_chunks
from heapwright.live.glibc.states import states_of
from heapwright.live.glibc.tally import tally_chunks
from heapwright.live.glibc.walk import Walked, Walker, interpreted, walk_arena
from heapwright.live.jemalloc.tally import tally_jemalloc
from heapwright.live.kinds import Kinds
from heapwright.live.links import malloc_module
from heapwright.live.mallocng import NAME as MUSL
from heapwright.live.mallocng import tally_musl
from heapwright.live.mappings import Mapping
from heapwright.live.memory import Image
from heapwright.live.mimalloc import tally_mimalloc
from heapwright.live.own import find_own
from heapwright.live.own_tally import tally_own
from heapwright.live.pages import PAGE
from heapwright.live.parts import Account, figures_in
from heapwright.live.pause import Pauses
from heapwright.live.pins import CLASSES, GroupSums, classes_of, size_classes
from heapwright.live.python.tally import tally_python
from heapwright.live.recognised import malloc_of, notes_on, recognise
from heapwright.live.references import copy_data
from heapwright.live.source import Module, Source
from heapwright.live.stacks import stacks_in
from heapwright.live.tcmalloc import tally_tcmalloc

FOREIGN = {"jemalloc": tally_jemalloc, "mimalloc": tally_mimalloc, "tcmalloc": tally_tcmalloc, MUSL: tally_musl}
ATTEMPTS = 3  # to find a heap in a program that has a glibc
SHARE_WORTH = 0.05  # of the resident set
BREATH = 0.05  # seconds between two looks at what seemed damaged


def look_at(source: Source, walker: Walker = interpreted, options: Options | None = None) -> Look:
    """Look at a process or a core. Damage counts if a second look finds it too: a heap may be caught half-written."""
    options = options or Options()
    try:
        look = look_twice(source, walker, options)
    except Unreadable as error:  # as when the process loads another program meanwhile
        raise InspectError(f"{source.name} changed while it was inspected: {error}") from error
    if look.pauses and not look.pauses.is_possible:
        look.notes += [*filter(None, [look.pauses.obstacle]), *changes(look)]
    return look


def look_twice(source: Source, walker: Walker, options: Options) -> Look:
    """Look once, and again if there seems to be damage: what both looks find is there."""
    look = look_once(source, walker, options)
    if look.damage and source.knows_residency:
        time.sleep(BREATH)
        again = look_once(source, walker, options)
        again.damage = [each for each in again.damage if each in look.damage]
        look = again
    return look


def changes(look: Look) -> Iterator[str]:
    """What changed under a look that did not pause the program."""
    now = Image(look.source)
    for chunks in {chunks.arena.address: chunks for chunks in look.chunks}.values():
        arena, heap = chunks.arena, next(heap for heap in look.heaps if chunks.arena.address in heap.arenas())
        record = heap.layout.arena_at(now, arena.address)
        if (record.top, record.system_bytes) != (arena.top, arena.system_bytes):
            grown = record.system_bytes - arena.system_bytes
            yield f"{arena.name} changed while it was read: its top moved, and it grew by {grown:,} bytes"


def look_once(source: Source, walker: Walker, options: Options) -> Look:
    image = Image(source, options.swapped)
    pauses = Pauses(source, options.pause) if source.pid and source.knows_residency else None  # type: ignore[arg-type]
    look = Look(source, image, Account(source.mappings), GroupSums(), Kinds(image), pauses)
    heaps = [Heap(image, found) for found in find_patiently(image)]
    copies = copy_all(look, heaps, options.data)
    alone = share_no_break(heaps)
    walks = [
        (heap, [walk_arena(arena, walker, alone) for arena in each]) for heap, each in zip(heaps, copies, strict=True)
    ]
    claims = [claim for _, walked in walks for each in walked for claim in ranges_of(each)]
    for heap, walked in walks:
        add_lost(heap, walked[0], rooms(source.mappings.joined, claims), walker)
    refresh(look)
    claims = [claim for heap, walked in walks for claim in take_heap(look, heap, walked)]
    claims += take_data(look)
    claims += take_stacks(look, claims)
    found = recognise(image)
    look.recognised = [name for name, _ in found]
    look.heap_ranges += [claim for name, module in found for claim in take_foreign(look, name, module)]
    claims += look.heap_ranges
    claims += take_python(look, claims)
    look.heap_ranges += take_own(look, claims)
    claims += look.heap_ranges
    claims += take_mapped(look, claims)
    foreign = malloc_of(image, malloc_module(image))
    look.allocator = name_of(look, foreign)
    counted = {each.name for each in look.statistics if each.in_parts}
    look.foreign = next((name for name in (foreign, *look.recognised) if name and name not in counted), "")
    look.account.close(bool(look.foreign))
    look.notes += [*notes_on(look), *note_on_fork(look), *[source.left_out] * bool(source.left_out)]
    return look


def note_on_fork(look: Look) -> Iterator[str]:
    """A sentence on private data that another process has too: what this one gives back, the machine does not gain."""
    shared = sum(mapping.shared for mapping in look.source.mappings if mapping.is_private_data)
    if shared > SHARE_WORTH * look.account.total().resident:
        what = f"{mib(shared)} of its data are shared with other processes since a fork"
        yield f"{what}: the kernel gets a page back only when each of them has given it back"


def take_foreign(look: Look, name: str, module: Module) -> list[Range]:
    """Count what another allocator has, where its records are known."""
    return FOREIGN[name](look, module) if name in FOREIGN else []


def find_patiently(image: Image) -> list[Found]:
    """The heaps that are found. Where there is none, some further attempts: a heap may just rebuild its lists."""
    for _ in range(ATTEMPTS if image.source.knows_residency else 0):
        found = find_heaps(image)
        if found or not any(version_of(module) for module in image.source.modules()):
            return found
        time.sleep(BREATH)
        image.forget()
    return find_heaps(image)


def share_no_break(heaps: list[Heap]) -> bool:
    """Whether at most one of the C libraries moves the break: one that `dlmopen` loaded takes mappings."""
    return sum(heap.has_break for heap in heaps) <= 1


def refresh(look: Look) -> None:
    """Count from the mappings as they are after the copies."""
    source = look.source
    source.look_again()
    program = frozenset(mapping.start for module in source.modules() for mapping in module.mappings)
    look.account = Account(source.mappings, program)
    look.kinds = Kinds(look.image)


def take_data(look: Look) -> list[Range]:
    """Count the pages of .bss, which have no file and may touch other mappings."""
    ranges = [module.bss for module in look.source.modules()]
    for start, end in ranges:
        if start < end and look.source.mappings.at(start):
            look.account.add("program", figures_in(look.source, start, end), start)
    return [each for each in ranges if each[0] < each[1]]


def name_of(look: Look, foreign: str) -> str:
    """The allocator that serves the program, as far as it is known."""
    if look.own:
        return look.own.spec
    return foreign or ("glibc" if look.heaps else "unknown")


# --- heaps


def copy_all(look: Look, heaps: list[Heap], with_data: bool) -> list[list[ArenaCopy]]:
    """The arenas of each heap, each copied under a pause of its own; with the data, all under one."""
    pauses = look.pauses
    with pauses.paused() if pauses and with_data else nullcontext():
        copies = [list(copy_arenas(heap, pauses)) for heap in heaps]
        if with_data:
            look.registers = look.source.registers
            look.data = copy_data(
                look.source, [section.copy for each in copies for arena in each for section in arena.sections]
            )
    return copies


def take_heap(look: Look, heap: Heap, walks: list[Walked]) -> list[Range]:
    """Count one C library's heap; the ranges that it has."""
    look.heaps.append(heap)
    chunks = states_of(heap, walks)
    look.chunks += chunks
    look.notes += [
        f"{walked.arena.name} was locked whenever it was read: it may have been read half-changed"
        for walked in walks
        if walked.arena.was_held
    ]
    for walked in walks:
        mine = [each for each in chunks if each.arena is walked.arena]
        tally_chunks(look, heap, walked, mine)
    return [claim for walked in walks for claim in ranges_of(walked)]


def ranges_of(walked: Walked) -> list[Range]:
    """The pages of an arena; of the main one those with chunks, for others may move the break too."""
    if walked.arena.is_main:
        return [(int(run.places[0]) & -4096, run.end + 4095 & -4096) for run in walked.runs]
    return [(section.copy.start, section.copy.end) for section in walked.arena.sections]


def take_own(look: Look, claims: list[Range]) -> list[Range]:
    look.own = find_own(look.image)
    if look.own is None:
        return []
    mappings = [mapping for mapping in rooms(look.source.mappings.joined, claims) if mapping.path != "[heap]"]
    return tally_own(look, look.own, mappings)


def take_python(look: Look, claims: list[Range]) -> list[Range]:
    look.python = tally_python(look, list(rooms(look.source.mappings.joined, claims)))
    return look.python.ranges if look.python else []


def take_stacks(look: Look, claims: list[Range]) -> list[Range]:
    look.stacks = [(stack.start, stack.end) for stack in stacks_in(look.source, rooms(look.source.mappings, claims))]
    for start, end in look.stacks:
        look.account.add("stacks", figures_in(look.source, start, end), start)
    return look.stacks


def take_mapped(look: Look, claims: list[Range]) -> list[Range]:
    if not look.heaps:
        return []
    heap = look.heaps[0]
    look.mapped = mapped_chunks(heap, rooms(look.source.mappings.joined, claims))
    for chunk in look.mapped:
        look.account.add("mapped", figures_in(look.source, chunk.start, chunk.end), chunk.start)
        count_mapped(look, chunk)
    note_mapped(look, heap)
    return [(chunk.start, chunk.end) for chunk in look.mapped]


def count_mapped(look: Look, chunk: MappedChunk) -> None:
    """Count a mapped block in its group: it pins nothing, but it may be what grows."""
    sizes = np.array([chunk.end - chunk.address], np.int64)
    copy = copy_of(look.source, chunk.start, chunk.start + PAGE)
    kind = look.kinds.of(copy, np.array([chunk.address], np.int64), sizes)
    look.tally.count(kind * CLASSES + classes_of(sizes), sizes)
    size_classes(look.sizes, sizes)


def note_mapped(look: Look, heap: Heap) -> None:
    """Hold the mapped chunks against malloc's own count."""
    said = accounted(heap)
    found = (len(look.mapped), sum(chunk.end - chunk.start for chunk in look.mapped))
    if said and (said[0] != found[0] or abs(said[1] - found[1]) >= 4096):  # 2.43 loses 16 bytes where one is resized
        look.notes.append(
            f"malloc counts {said[0]:,} mapped blocks of {said[1]:,} bytes; {found[0]:,} of {found[1]:,} were found"
        )


# --- what is left


def rooms(mappings: Iterable[Mapping], claims: list[Range]) -> Iterator[Mapping]:
    """The private, writable memory without a file that is not claimed yet."""
    taken = sorted(claims)
    for mapping in mappings:
        if mapping.is_private_data and not mapping.path.startswith(("[stack", "[heap")):
            yield from gaps_in(
                mapping, [claim for claim in taken if claim[0] < mapping.end and claim[1] > mapping.start]
            )


def gaps_in(mapping: Mapping, claims: list[Range]) -> Iterator[Mapping]:
    place = mapping.start
    for start, end in [*claims, (mapping.end, mapping.end)]:
        if start > place:
            yield replace(mapping, start=place, end=start)
        place = max(place, end)
