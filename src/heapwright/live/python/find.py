"""Find CPython's arenas without symbols.

The table of used pools has two words for each class of sizes, both pointing to pools. Each pair of such words in the
interpreter's data votes for where the table would begin; the pools then lead to the vector of arenas, which is the one
pointer whose entry for each pool's arena covers that pool. Sub-interpreters with arenas of their own are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, copy_of
from heapwright.live.glibc.find import data_of
from heapwright.live.memory import Image
from heapwright.live.python.published import RUNTIME, published_by
from heapwright.live.python.structs import ARENA, CLASSES, POOL, STEP, ArenaObject, Pool
from heapwright.live.source import Module

NAME = re.compile(r"python(3\.\d+)")
MIN_POOLS = 3
MAX_PROBES = 8  # pools that a vector must cover
MAX_ARENAS = 1 << 20
MAX_UNUSED = 4096


class Arenas:
    """What was found of an interpreter: its version, and its arenas' records."""

    def __init__(self, version: str, records: list[Any]):
        self.version, self.records = version, records


def interpreters(image: Image) -> Iterator[Module]:
    """The modules that are a CPython interpreter, also where another program contains it."""
    for module in image.source.modules():
        is_named = NAME.search(module.path.rpartition("/")[2])
        if module.elf.find(RUNTIME) or (is_named and not module.elf.symbols):
            yield module


def version_of(image: Image, module: Module) -> str:
    """The version, from what the interpreter publishes or from its file's name."""
    published = published_by(image, module)
    found = NAME.search(module.path.rpartition("/")[2])
    return published.version if published else found[1] if found else "3"


def is_free_threaded(image: Image, module: Module) -> bool:
    """Whether this build has mimalloc in place of its own arenas."""
    published = published_by(image, module)
    return published.is_free_threaded if published else bool(re.search(r"python3\.\d+t", module.path))


def find_arenas(image: Image) -> Arenas | None:
    """The arenas of the main interpreter; None if there is no CPython, or it has no arenas."""
    for module in interpreters(image):
        data = [copy_of(image.source, start, end) for start, end in data_of(module)]
        pools = [pool for each in data for pool in used_pools(image, each)]
        vector = find_vector(image, data, pools) if len(pools) >= MIN_POOLS else 0
        if vector:
            return Arenas(version_of(image, module), list(records(image, vector)))
    return None


# --- the table of used pools


def used_pools(image: Image, data: Extent) -> list[Any]:
    """Pools that the table in this data points to, if there is one."""
    words = data.words
    pairs = (words[:-1] != 0) & (words[:-1] % POOL == 0) & (words[1:] % POOL == 0) & (words[1:] != 0)
    votes: dict[int, list[Any]] = {}
    for index in np.flatnonzero(pairs).tolist():
        pool = pool_at(image, int(words[index]))
        if pool:
            base = data.start + 8 * index - 2 * 8 * pool.size_index
            votes.setdefault(base, []).append(pool)
    return max(votes.values(), key=len, default=[])


def pool_at(image: Image, address: int) -> Any:
    """The pool at an address, if there is a used one."""
    pool: Any = Pool(image, address)
    try:
        size = STEP * (pool.size_index + 1)
        good = pool.size_index < CLASSES and pool.max_next_offset == POOL - size and 0 < pool.count <= POOL // size
    except Unreadable:
        return None
    return pool if good else None


# --- the vector of arenas


def find_vector(image: Image, data: list[Extent], pools: list[Any]) -> int:
    """The address of the vector: the pointer in the data whose entries cover all the pools."""
    probes = pools[:MAX_PROBES]
    for each in data:
        words = np.unique(each.words[(each.words % 16 == 0) & (each.words > 1 << 16) & (each.words < 1 << 47)])
        for word in words.tolist():
            mapping = image.source.mappings.at(word)
            if mapping and mapping.is_private_data and all(covers(image, word, pool) for pool in probes):
                return int(word)
    return 0


def covers(image: Image, vector: int, pool: Any) -> bool:
    try:
        record = arena_at(image, vector, pool.arena_index)
        return bool(record.base <= pool.address < record.base + ARENA and is_sound(record))
    except Unreadable:
        return False


def arena_at(image: Image, vector: int, index: int) -> Any:
    return ArenaObject(image, vector + index * ArenaObject.SIZE)


def is_sound(record: Any) -> bool:
    """Whether a record is that of an arena, used or not."""
    if record.base == 0:
        return record.all_pools <= ARENA // POOL
    inside = record.base <= record.pool_address <= record.base + ARENA
    return bool(inside and record.free_pools <= record.all_pools <= ARENA // POOL)


def records(image: Image, vector: int) -> Iterator[Any]:
    """The arenas in use: the vector ends with the first record that is none, or with many that are not in use."""
    unused = 0
    for index in range(MAX_ARENAS):
        record = arena_at(image, vector, index)
        try:
            if not is_sound(record):
                return
        except Unreadable:
            return
        unused = 0 if record.base else unused + 1
        if unused > MAX_UNUSED:
            return
        if record.base:
            yield record
