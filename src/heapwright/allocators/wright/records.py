"""Wright's segments: 64 tiles of 16 KiB, and a record of each tile in the first of them.

A segment of 1 MiB lies at a multiple of 1 MiB. So an address leads to the record of its tile without a search:

    segment -> +------------------------+
             0 | magic, taken, fresh    |  bits of tiles 1 to 63, tile i at bit i - 1
               | next, previous         |
               +------------------------+
          64 i | record of tile i       |  for i from 1 to 63
               +------------------------+
        16 KiB | tile 1                 |
               | ...                    |
       1008 KiB| tile 63                |
               +------------------------+

A run is one or more tiles side by side: a slab of small blocks, or one large block. The record of its first tile
describes it, and the others lead there by `back`.

     record -> +------------------------+
             0 | tag                    |  the same in all tiles of a run
             8 | free                   |  the blocks that came home, last in first out
            16 | left                   |  frees until the slab wakes, or until it is empty
            24 | back, carved           |  bytes to the first tile's record; blocks handed out at least once
            32 | next, previous         |  in the list of a home's slabs that have free blocks
            48 | capacity, tiles, state |
               | is fresh, meshed       |  whether a large block was all zeros when it was handed out; see meshes
            56 | size                   |  bytes of a block
            60 | holes                  |  pages without frames whose blocks are free but not on the list
               +------------------------+

A tag is the address of the list in a home where a freed block of the slab goes. It contains the home, because that lies
at a multiple of 4 KiB, and the class. FREE_TAG and LARGE_TAG match no home's list.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.wright import classes, hardened
from heapwright.layout import Atomic, Byte, Struct, Word, Word16, Word32

MESHED = 0  # whether pages of slabs may share frames
SEGMENT = hardened.SEGMENT
TILE = classes.TILE
ALIGN = 16  # of a block, as the allocator says
LOG2_TILE = bits.floor_log2(TILE)
RECORDS = SEGMENT // TILE
TILES = RECORDS - hardened.GUARD_TILES  # the first holds the records
ALL_TILES = bits.MAX_WORD >> hardened.GUARD_TILES  # a bit for each tile but the first
SEGMENT_MAGIC = 0x5716_0A11_F0E1_0001
HOME_BOUNDARY = 4096  # a multiple of it separates a home's address and the class in a tag
LOG2_STEP = 4  # a tag is a home + class * 16
STEPS = classes.CLASSES << LOG2_STEP
FREE_TAG, LARGE_TAG = HOME_BOUNDARY - 1, HOME_BOUNDARY - 2
# States of a run: large or free; full; in a list; the one to refill from; large, in no use, and kept for a thread.
UNUSED, ASLEEP, AWAKE, CURRENT, SPARE = 0, 1, 2, 3, 4


class Block(Struct):
    """A free block."""

    next: Block
    second: Word  # in a batch of remote frees: see remote


# --- links, which a hardened heap encodes


def next_of(block):
    """The block that a free block leads to."""
    if hardened.IS_HARDENED:
        return block.at(hardened.load_next(block.memory, block.address))
    return block.next


def link(block, following):
    """Let a free block lead to another one."""
    if hardened.IS_HARDENED:
        hardened.store_next(block.memory, block.address, following.address)
    else:
        block.next = following


def second_of(block):
    """The second word of a block in a batch."""
    return hardened.load_second(block.memory, block.address) if hardened.IS_HARDENED else block.second


def set_second(block, word):
    if hardened.IS_HARDENED:
        hardened.store_second(block.memory, block.address, word)
    else:
        block.second = word


def forget_second(block):
    """Clear the second word of a block that leaves a batch, because a hardened heap hands out zeros."""
    if hardened.IS_HARDENED:
        hardened.clear_second(block.memory, block.address)


# --- segments and their records


class Segment(Struct):
    magic: Word
    taken: Word  # tiles that belong to a run
    fresh: Word  # tiles that read as zeros; a tile neither taken nor fresh is dirty
    next: Segment  # the next higher one
    previous: Segment
    key: Word  # the secret of a hardened segment, at hardened.KEY
    chain: Segment  # the next one in a list of the table `known`
    guards: Word  # its protected pages


class Record(Struct):
    tag: Atomic[Word]
    free: Block
    left: Word
    back: Word32
    carved: Word32
    next: Record
    previous: Record
    capacity: Word16
    tiles: Word16
    state: Word16
    is_fresh: Byte
    meshed: Byte  # pages that share a frame, as bits
    size: Word32
    holes: Word32  # pages, as bits


RECORD = Record.SIZE
LOG2_RECORD = 6


def offset_of(address):
    """The distance of a tile's record from the segment: 0 for a huge block, because no other begins in tile 0."""
    return bits.shift_right(address, LOG2_TILE - LOG2_RECORD) & ((RECORDS - 1) << LOG2_RECORD)


def record_at(heap, address, offset):
    return Record(heap.memory, bits.align_down(address, SEGMENT) | offset)


def record_of(heap, address):
    """The record of the tile of an address."""
    return record_at(heap, address, offset_of(address))


def head_of(record):
    """The record of the first tile of the run."""
    return record.at(record.address - record.back)


def segment_of(record):
    return Segment(record.memory, bits.align_down(record.address, SEGMENT))


def tile_of(record):
    """The number of a record's tile in its segment."""
    return (record.address & (SEGMENT - 1)) >> LOG2_RECORD


def start_of(record):
    """The first byte of the tile."""
    return bits.align_down(record.address, SEGMENT) + (tile_of(record) << LOG2_TILE)


def bytes_of(record):
    """The bytes of the run that begins here."""
    return record.tiles << LOG2_TILE


def home_address(record):
    return bits.align_down(record.tag.load(), HOME_BOUNDARY)


def class_in(record):
    return (record.tag.load() & (HOME_BOUNDARY - 1)) >> LOG2_STEP


def is_slab(record):
    return record.tag.load() > FREE_TAG


def is_spare(record):
    """Whether a run that begins here is large and in no use, but kept for a thread."""
    return record.tag.load() == LARGE_TAG and record.state == SPARE
