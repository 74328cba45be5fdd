"""The columns of one chunk of a `.hwt` file, without anything that can be derived from the rest.

    kind   one byte for each event: op, plus 8 if it starts a block, plus 16 times the flags
    thread one number for each event
    align  log2, for each allocation
    size   for each event that asks for bytes
    since  for each dealloc, and each realloc that starts no block: how many blocks ago its block started, at least 1;
           0 for NONE
    count  for each zeroed allocation; left out if all are 1
    time   for each event, the microseconds since the one before; the first counts from the recording's start; left out
           if all are 0
    site   for each event; left out if all are 0

A column that may be left out follows its letter, "c", "t" or "s".

Numbers are cut to the 1, 2, 4 or 8 bytes that the largest in a column needs. Their bytes are sorted into planes, with
all the lowest ones first, and each column is compressed with zstd. Block numbers are not stored, because they can be
counted.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heapwright.traces.arrays import I64, Mask, np
from heapwright.traces.events import (
    ALLOC_ZEROED,
    DEALLOC,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    TraceError,
    is_counted,
    starts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 9  # on real traces a quarter smaller than with level 3
STARTS = 8
COUNT, TIME, SITE = b"cts"
COLUMN = struct.Struct("<BII")  # bytes per number, count of numbers, compressed bytes
WIDTHS = 1, 2, 4, 8
SHORT = 4096  # numbers: numpy takes longer to import
ARRAY_TYPES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Damaged(TraceError):
    """A chunk with contradictory content although its checksum is right: a defect of the program that wrote it."""


def compressor(level: int) -> Callable[[Any], bytes]:
    """A function that compresses bytes, each time to one frame. It keeps its tables, which take time to make."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    frames = zstd.ZstdCompressor(level)
    return lambda data: bytes(frames.compress(data, frames.FLUSH_FRAME))


def decompress(data: bytes, size: int) -> bytes:
    """Decompress exactly `size` bytes. Raises Damaged if there are more or fewer, or if this is not zstd data."""
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


def decompress_all(data: bytes, maximum: int) -> bytes:
    """Decompress the frames of a zstd file. Raises TraceError if it is damaged or holds more than `maximum` bytes."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    content, rest = b"", data
    try:
        while rest:
            frame = zstd.ZstdDecompressor()
            content += frame.decompress(rest, maximum + 1 - len(content))
            if not frame.eof:
                break
            rest = frame.unused_data
    except zstd.ZstdError as error:
        raise TraceError(f"the zstd file is damaged: {error}; copy it again") from error
    if len(content) > maximum:
        raise TraceError(f"it unpacks to more than {maximum >> 30} GiB; unpack it first")
    if rest:
        raise TraceError("the zstd file is cut off; copy it again")
    return content


def encode_column(numbers: NDArray[Any], level: int = LEVEL) -> bytes:
    """One column of whole numbers from 0 up, after its width and lengths."""
    maximum = int(numbers.max(initial=0))
    width = next(w for w in WIDTHS if maximum < 1 << 8 * w)
    planes = numbers.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T
    return packed_column(width, len(numbers), compressor(level)(planes.tobytes()))


def encode_numbers(numbers: bytes | array[int]) -> bytes:
    """The same for bytes or an array of Python's; if there are few, without numpy."""
    if len(numbers) > SHORT:
        return encode_column(np.array(memoryview(numbers)))
    width = next(w for w in WIDTHS if max(numbers, default=0) < 1 << 8 * w)
    data = array(ARRAY_TYPES[width], numbers).tobytes()
    planes = b"".join(data[plane::width] for plane in range(width))
    return packed_column(width, len(numbers), compressor(LEVEL)(planes))


def packed_column(width: int, count: int, compressed: bytes) -> bytes:
    """A column of `count` numbers whose planes of `width` bytes are compressed already."""
    return COLUMN.pack(width, count, len(compressed)) + compressed


class Reader:
    """A reader of a chunk's columns, one after the other."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    @property
    def has_more(self) -> bool:
        return self.place < len(self.data)

    def letter(self) -> int:
        """The byte before a column that may be left out."""
        self.place += 1
        return self.data[self.place - 1]

    def column(self, count: int) -> NDArray[Any]:
        """The next column, which must have `count` numbers. Raises Damaged otherwise."""
        width, stored, _ = self._description()
        if stored != count:
            raise Damaged(f"a column has {stored} numbers of {width} bytes, not {count}")
        return self.any_column()

    def any_column(self) -> NDArray[Any]:
        """The next column, of any length. Raises Damaged if there is none."""
        width, count, packed = self._description()
        if width not in WIDTHS:
            raise Damaged(f"a column has numbers of {width} bytes")
        start = self.place + COLUMN.size
        self.place = start + packed
        planes = decompress(self.data[start : self.place], count * width)
        return np.frombuffer(planes, np.uint8).reshape(width, count).T.copy().view(f"<u{width}").reshape(count)

    def _description(self) -> tuple[int, int, int]:
        """The next column's bytes per number, count of numbers, and compressed bytes."""
        try:
            width, count, packed = COLUMN.unpack_from(self.data, self.place)
        except struct.error as error:
            raise Damaged("a column is missing") from error
        return width, count, packed


def refers(op: Any, begins: Mask) -> Mask:
    """Which events name a block that started earlier."""
    which: Mask = (op == DEALLOC) | (op == REALLOC) & ~begins
    return which


def encode(events: Events, first_block: int, level: int = LEVEL) -> bytes:
    """The chunk's columns as bytes. `first_block` blocks of its process started before it."""
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
    return b"".join(encode_column(column, level) for column in columns) + encode_optional(events, level)


def encode_optional(events: Events, level: int) -> bytes:
    """The columns that most traces lack, each after its letter."""
    optional = {}
    if (events.count != 1).any():
        optional[COUNT] = events.count[events.op == ALLOC_ZEROED]
    if events.time.any():
        optional[TIME] = np.diff(events.time, prepend=0)
    if events.site.any():
        optional[SITE] = events.site
    return b"".join(bytes([letter]) + encode_column(column, level) for letter, column in optional.items())


def decode(data: bytes, count: int, first_block: int) -> Events:
    """The events that were encoded. Raises Damaged if the columns contradict each other."""
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
    rows = {"op": op, "flags": flags, "log2_align": log2_align, "thread": thread, "block": block, "size": size}
    events = Events.of(**rows, **decode_optional(reader, op))
    if not is_counted(events).all():
        raise Damaged("a size is no multiple of its count")
    if (np.diff(events.time, prepend=0) < 0).any():
        raise Damaged("its time decreases")
    return events


def decode_optional(reader: Reader, op: NDArray[Any]) -> dict[str, Any]:
    """The columns of `encode_optional` that are there, by name."""
    found: dict[str, Any] = {}
    while reader.has_more:
        letter = reader.letter()
        if letter == COUNT:
            found["count"] = np.ones(len(op), np.uint32)
            found["count"][op == ALLOC_ZEROED] = reader.column(int((op == ALLOC_ZEROED).sum()))
        elif letter == TIME:
            found["time"] = np.cumsum(reader.column(len(op)), dtype=np.int64)
        elif letter == SITE:
            found["site"] = reader.column(len(op))
        else:
            raise Damaged("it has a column that is not known")
    return found


def spread(reader: Reader, which: Mask) -> NDArray[Any]:
    """The next column, placed where `which` is true, with zeros between."""
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
