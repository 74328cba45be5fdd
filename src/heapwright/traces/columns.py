"""The columns of one chunk of a `.hwt` file: what is in them once everything that follows from the rest is left out.

    kind   one byte for each event: op, and 8 if it starts a block, and 16 times the flags
    thread one number for each event
    align  log2, for each allocation
    size   for each event that asks for bytes
    since  for each dealloc, and each realloc that starts no block: how many blocks ago its block started, at least 1;
           0 for NONE

Numbers are cut to the 1, 2, 4 or 8 bytes that the largest of a column needs, their bytes sorted into planes (all the
lowest ones first), and each column is compressed with zstd. The numbers of blocks are not stored: they are counted.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

from heapwright.traces.arrays import I64, Mask, np
from heapwright.traces.events import DEALLOC, NONE, REALLOC, THREAD_EXIT, Events, TraceError, starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 9  # on real traces a quarter smaller than 3, for a tenth more time
STARTS = 8
COLUMN = struct.Struct("<BII")  # bytes of a number, how many numbers, compressed bytes
WIDTHS = 1, 2, 4, 8


class Damaged(TraceError):
    """A chunk whose bytes do not add up, although its sum is right: a defect of whoever wrote it."""


def compress(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return bytes(zstd.compress(data, LEVEL))


def decompress(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes. Raises Damaged when there are more or fewer, or no zstd data at all."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    try:
        content = bytes(zstd.ZstdDecompressor().decompress(data, size + 1))
    except zstd.ZstdError as error:
        raise Damaged("zstd cannot read it") from error
    if len(content) != size:
        raise Damaged(f"a column of {size} bytes has another length")
    return content


def encode_column(numbers: NDArray[Any]) -> bytes:
    """One column of whole numbers from 0 on, with its widths and lengths before it."""
    most = int(numbers.max(initial=0))
    width = next(w for w in WIDTHS if most < 1 << 8 * w)
    planes = numbers.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T
    packed = compress(planes.tobytes())
    return COLUMN.pack(width, len(numbers), len(packed)) + packed


class Reader:
    """Takes the columns of a chunk one after the other."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    def column(self, count: int) -> NDArray[Any]:
        """The next column, which must have so many numbers. Raises Damaged if it has not."""
        try:
            width, stored, packed = COLUMN.unpack_from(self.data, self.place)
        except struct.error as error:
            raise Damaged("a column is missing") from error
        if stored != count or width not in WIDTHS:
            raise Damaged(f"a column has {stored} numbers of {width} bytes, not {count}")
        start = self.place + COLUMN.size
        self.place = start + packed
        planes = decompress(self.data[start : self.place], count * width)
        return np.frombuffer(planes, np.uint8).reshape(width, count).T.copy().view(f"<u{width}").reshape(count)


def refers(op: Any, begins: Mask) -> Mask:
    """Which events name a block that started before."""
    which: Mask = (op == DEALLOC) | (op == REALLOC) & ~begins
    return which


def encode(events: Events, first_block: int) -> bytes:
    """The chunk's columns; `first_block` blocks of its process started before it."""
    begins = starts(events, first_block)
    refer = refers(events.op, begins)
    started = first_block + np.cumsum(begins)
    since = np.where(events.block == NONE, 0, started - events.block)
    columns = [
        events.op | begins * np.uint8(STARTS) | events.flags << 4,
        events.thread,
        events.log2_align[events.op < REALLOC],
        events.size[events.asks],
        since[refer],
    ]
    return b"".join(encode_column(column) for column in columns)


def decode(data: bytes, count: int, first_block: int) -> Events:
    """The events that `encode` was given. Raises Damaged when the columns contradict each other."""
    reader = Reader(data)
    kind = reader.column(count)
    op, begins, flags = kind & 7, (kind & STARTS) != 0, kind >> 4
    if count and not (kind.itemsize == 1 and op.min() >= 1 and op.max() <= THREAD_EXIT):
        raise Damaged("it has an operation that is not known")
    thread = reader.column(count)
    log2_align = spread(reader, op < REALLOC)
    size = spread(reader, op <= REALLOC)
    refer = refers(op, begins)
    since = spread(reader, refer).astype(np.int64)
    block = blocks(begins, refer, since, first_block)
    return Events.of(op=op, flags=flags, log2_align=log2_align, thread=thread, block=block, size=size)


def spread(reader: Reader, which: Mask) -> NDArray[Any]:
    """The next column, put where `which` says, with zeros between."""
    numbers = reader.column(int(which.sum()))
    column = np.zeros(len(which), numbers.dtype)
    column[which] = numbers
    return column


def blocks(begins: Mask, refer: Mask, since: I64, first_block: int) -> I64:
    """The number of each event's block."""
    started = first_block + np.cumsum(begins)
    if ((since > started) | (since < 0)).any():
        raise Damaged("it names a block from before the first")
    named = np.where(refer & (since > 0), started - since, NONE)
    return np.where(begins, started - 1, named)
