"""What wright's homes and segments contain, as Python lists: for `lists` and `check` only."""

from __future__ import annotations

from heapwright.allocators.parts import chains
from heapwright.allocators.wright import (
    classes,
    hardened,
    homes,
    records,
    remote,
    spares,
)


def homes_of(heap):
    home = heap.roster.youngest
    while home:
        yield home
        home = home.older


def segments_of(heap):
    return list(chains.chain_of(heap.pages.first))


def runs_of(segment):
    """The first record of each run of a segment."""
    tile = 1
    while tile < records.TILES:
        record = records.Record(segment.memory, segment.address + tile * records.RECORD)
        is_free = record.tag.load() == records.FREE_TAG
        if not is_free:
            yield record
        tile += 1 if is_free else max(record.tiles, 1)


def blocks_in(block):
    """The blocks of a list."""
    while block:
        yield block
        block = records.next_of(block)


def addresses_in(block):
    return [each.address for each in blocks_in(block)]


def waiting_in(home):
    """The addresses of the blocks that wait in a home."""
    return [home.waiting[i].block for i in range(hardened.WAITING) if home.waiting[i].block != 0]


def first_in(block, count):
    """The addresses of the first blocks of a chain."""
    found = []
    for _ in range(count):
        found.append(block.address)
        block = records.next_of(block)
    return found


def batches_of(home):
    """The blocks of each batch in a home's inbox."""
    for batch in blocks_in(remote.newest_batch(home)):
        word = records.second_of(batch)
        yield [batch.address, *first_in(batch.at(word & remote.ADDRESS), (word >> remote.COUNT) - 1)]


def posted_in(home):
    """(slab, addresses) of each place of a home's outbox that is in use."""
    for i in range(homes.SLOTS):
        slot = home.outbox[i]
        if slot.slab:
            yield slot.slab, first_in(slot.first, slot.count)


def lists(heap):
    """Yield (name, addresses) for the lists and boxes of each home, and the free blocks of each slab."""
    for home in homes_of(heap):
        name = f"home {home.address:#x}"
        for size_class in range(1, classes.CLASSES):
            size = classes.size_of_class(size_class)
            if home.limits[size_class] or home.hot[size_class].first:
                yield f"{name}, {size} bytes", addresses_in(home.hot[size_class].first)
            partial = [records.start_of(slab) for slab in chains.chain_of(home.partial[size_class])]
            if partial:
                yield f"{name}, slabs of {size} bytes that are partly free", partial
        for slab, blocks in posted_in(home):
            yield f"{name}, outbox for slab {records.start_of(slab):#x}", blocks
        for blocks in batches_of(home):
            yield f"{name}, inbox", blocks
        if spares.of(home):
            yield f"{name}, spares", [records.start_of(run) for run in spares.of(home)]
        if hardened.IS_HARDENED:
            yield f"{name}, waiting", waiting_in(home) + [records.start_of(run) for run in spares.waiting_in(home)]
    for segment in segments_of(heap):
        for slab in filter(records.is_slab, runs_of(segment)):
            yield f"slab {records.start_of(slab):#x}", addresses_in(slab.free)
    yield "huge ranges kept", [kept.start for kept in chains.chain_of(heap.huge.first)]
