"""What wright knows of a live block: whether what a caller claims of it is true, and how a hardened one is sealed."""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.wright import hardened, homes, huge_ends, huge_ranges, known_segments, records, seals
from heapwright.layout import NULL


def live_record(heap, address):
    """The record of the tile of a block; report a tile that no block of this kind can begin in."""
    record = records.record_of(heap, address)
    if hardened.IS_HARDENED and not known_segments.is_ours(heap, address):
        heap.memory.fault("not a block of this heap", address)
    tag = record.tag.load()
    if records.segment_of(record).magic != records.SEGMENT_MAGIC or tag == records.SEGMENT_MAGIC:
        heap.memory.fault("not a block of this heap", address)
    if tag == records.LARGE_TAG and (record.back != 0 or not bits.is_aligned(address, records.TILE)):
        heap.memory.fault("no block begins here", address)
    if tag == records.FREE_TAG or records.is_spare(record):
        heap.memory.fault("double free", address)
    return record


def usable_size(heap, address):
    if bits.is_aligned(address, records.SEGMENT):
        return huge_ends.size_of(heap, address) if hardened.IS_HARDENED else huge_ranges.huge_size(heap, address)
    record = live_record(heap, address)
    run = records.head_of(record)
    if hardened.IS_HARDENED:
        return seals.size_of_small(heap, address, run) if records.is_slab(run) else run.left
    return run.size if records.is_slab(run) else records.bytes_of(run)


def expect_size(heap, address, size, align):
    """Report that a caller, who is about to free a block of ours, says a wrong size. Ignore other addresses."""
    is_huge = bits.is_aligned(address, records.SEGMENT)
    if huge_ranges.is_live(heap, address) if is_huge else known_segments.is_ours(heap, address):
        require_size(heap, address, size, usable_size(heap, address))


def room_at(heap, address):
    """The bytes that the caller of a live block could have at most without a move."""
    if bits.is_aligned(address, records.SEGMENT):
        return huge_ranges.huge_size(heap, address) - hardened.SEAL
    run = records.head_of(records.record_of(heap, address))
    return (run.size if records.is_slab(run) else records.bytes_of(run)) - hardened.SEAL


def require_size(heap, address, said, size):
    """The same for a block whose size is known. C's `free` says 0."""
    if said not in (0, size):
        heap.memory.fault("wrong size", address, size)


def checked_size(heap, address):
    """The size of a live block, after a look at the bytes around it."""
    if bits.is_aligned(address, records.SEGMENT):
        return huge_ends.checked(heap, address)
    run = records.head_of(live_record(heap, address))
    return seals.checked_small(heap, address, run) if records.is_slab(run) else seals.checked_large(heap, address, run)


def room_of_sound(heap, home, address, said):
    """The room of a live block of a linear class of a home, after all checks of a block that is freed.

    It is -1 for any other address, which is then looked at again, with more care. The tag alone leads to the room,
    because the size of such a class is its distance in a home. The slab is one tile. A block that was never handed out
    has no seal.
    """
    if not known_segments.is_first(heap, address):
        return -1
    room = records.record_of(heap, address).tag.load() ^ home
    if not bits.unsigned_less(room, homes.FAST):
        return -1
    offset, key = address & (records.TILE - 1), hardened.key_of(heap.memory, address)
    word = seals.seal_of(heap.memory, address, room).word.load()
    size = seals.size_sealed(key, address, word)
    if not known_segments.divides(heap, room, offset) or not bits.unsigned_less(size, room - hardened.SEAL + 1):
        return -1
    if said not in (0, size) or offset != 0 and not seals.has_good_neighbour(heap.memory, key, address):
        return -1
    return room if seals.is_quickly_whole(heap.memory, address, room, size, word) else -1


def seal_new(heap, address, size):
    """Prepare a block, which may have more room than its caller needs, or NULL."""
    if address == NULL:
        return NULL
    if bits.is_aligned(address, records.SEGMENT):
        huge_ends.close(heap, address, size)
        return address
    run = records.head_of(records.record_of(heap, address))
    if records.is_slab(run):
        seals.require_clear(heap, address, run.size)
        seals.close(heap.memory, address, run.size, size)
    else:
        seals.close_large(heap, address, run, size)
    return address
