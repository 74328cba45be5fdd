"""What wright's homes and segments contain, as Python lists: for `lists` and `check` only."""

from __future__ import annotations

from heapwright.allocators.parts import chains
from heapwright.allocators.wright import hardened, homes, records, remote


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
    return [home.waiting[i] for i in range(hardened.WAITING) if home.waiting[i] != 0]


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
