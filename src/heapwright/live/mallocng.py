"""The statistics of musl's mallocng (musl 1.2.1 and later), from its records.

Source: R. Felker, musl src/malloc/mallocng, meta.h and malloc.c. A group is up to 32 slots of one size, and its record,
a meta, has a bit for each free slot. The metas lie in pages of their own, each of which begins with a secret that the
context has too: so the context is found without symbols, in a static program as well. A small group lies within a slot
of a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Numbers, copy_of
from heapwright.live.findings import Look, Range
from heapwright.live.glibc.find import data_of
from heapwright.live.memory import Image
from heapwright.live.pages import PAGE
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics

NAME = "musl's mallocng"
FIRST_PAGE = 7  # the word of the context that leads to the first page of metas; the one after the secret begins with 1
PAGE_HEAD, META_WORDS = 3, 5  # words: the secret, the next page and a count; links, the group, the masks, the rest
METAS = (PAGE // 8 - PAGE_HEAD) // META_WORDS
MAX_PAGES = 1 << 20
GROUP_HEAD, UNIT = 16, 16
SIZES = np.array([*range(1, 11), 12, 15, 18], "<u2").tobytes()  # how the table of size classes begins, in units
CLASSES = 48


class Groups(NamedTuple):
    """For each group: its address, its slots and which are free, the size of a slot, the pages it was mapped with."""

    places: Numbers
    counts: Numbers
    free: Numbers
    strides: Numbers
    pages: Numbers


def tally_musl(look: Look, module: Module) -> list[Range]:
    """Add the figures of musl's records. Its blocks are not read."""
    look.add_counters(NAME, read_figures, module)
    return []


def has_context(image: Image, module: Module) -> bool:
    return next(contexts(image, module), 0) != 0


def contexts(image: Image, module: Module) -> Iterator[int]:
    """The first page of metas, for each word in a module's data that leads to one."""
    for start, end in data_of(module):
        words = copy_of(image.source, start, end).words
        secrets, states, heads = words[:-FIRST_PAGE], words[1 : 1 - FIRST_PAGE], words[FIRST_PAGE:]
        good = (secrets != 0) & (states & 0xFFFFFFFF == 1) & (heads != 0) & (heads % PAGE == 0)
        for index in np.flatnonzero(good).tolist():
            if is_page_of_metas(image, int(heads[index]), int(secrets[index])):
                yield int(heads[index])


def is_page_of_metas(image: Image, place: int, secret: int) -> bool:
    try:
        return image.word(place) == secret and image.load(place + 16, 4) == METAS
    except Unreadable:
        return False


def read_figures(image: Image, module: Module) -> Statistics | None:
    first, table = next(contexts(image, module), 0), size_table(module)
    if not first or table is None:
        return None
    pages = list(metas_from(image, first))
    groups = groups_in(np.concatenate(pages), table)
    live, holders = live_bytes(groups)
    all_slots = int((groups.counts * groups.strides).sum())
    return Statistics(
        NAME,
        mapped_bytes=int(groups.pages.sum()) * PAGE,
        live_bytes=live - holders,
        free_bytes=all_slots - live,
        own_bytes=len(pages) * PAGE,
    )


def size_table(module: Module) -> Numbers | None:
    """The size of a slot by class, in bytes, from the file."""
    place = module.elf.data.find(SIZES)
    if place < 0:
        return None
    return np.frombuffer(module.elf.data[place : place + 2 * CLASSES], "<u2").astype(np.int64) * UNIT


def metas_from(image: Image, place: int) -> Iterator[Any]:
    """The metas of each page, a row for each."""
    for _ in range(MAX_PAGES):
        if not place:
            return
        words = np.frombuffer(image.bytes_at(place, PAGE), "<u8")
        yield words[PAGE_HEAD : PAGE_HEAD + METAS * META_WORDS].reshape(METAS, META_WORDS)
        place = int(words[1])


def groups_in(metas: Any, table: Numbers) -> Groups:
    """The groups of the metas that have one."""
    rows = metas[metas[:, 2] != 0].astype(np.int64)
    rest, masks = rows[:, 4], rows[:, 3]
    last, classes, pages = rest & 31, rest >> 6 & 63, rest >> 12
    strides = table[np.minimum(classes, CLASSES - 1)]
    single = (last == 0) & (pages > 0)
    strides = np.where(single, pages * PAGE - GROUP_HEAD, strides)
    all_free = (masks | masks >> 32) & (1 << last + 1) - 1
    return Groups(rows[:, 2], last + 1, all_free, strides, pages)


def live_bytes(groups: Groups) -> tuple[int, int]:
    """The bytes of the slots in use, and of those among them that hold a smaller group."""
    slots = np.arange(32)
    used = (slots < groups.counts[:, None]) & (groups.free[:, None] >> slots & 1 == 0)
    starts = (groups.places[:, None] + GROUP_HEAD + slots * groups.strides[:, None])[used]
    sizes = np.broadcast_to(groups.strides[:, None], used.shape)[used]
    order = np.argsort(starts)
    starts, sizes = starts[order], sizes[order]
    index = np.searchsorted(starts, groups.places, side="right") - 1
    within = (index >= 0) & (groups.places < (starts + sizes)[index])
    return int(sizes.sum()), int(sizes[index[within]].sum())
