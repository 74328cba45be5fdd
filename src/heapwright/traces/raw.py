"""The raw recording of one process: a file that the process maps, writes as it runs, and leaves behind if it dies.

       0 +----------------+
         | Header         |  one page; the command line from byte 256 on, as in /proc/self/cmdline
    4096 +----------------+
         | Chunk, records |  64 KiB: 16 bytes of header and 1638 records of 40; each belongs to one thread
         +----------------+
         | ...            |  zeros from the last record of a chunk, and from the last chunk, on

A thread that has no room claims the next chunk with `header.chunks.add(1)`, writes its number into it, and from then
on fills it alone. For a record it takes `header.sequence.add(1) + 1`, writes the record, and then the chunk's new
`count`: what the count includes is whole. Sequence 0 means that nothing is there.

When a call is recorded (this is what keeps addresses that change threads in order)

    malloc, calloc, memalign    after it: ALLOC or ALLOC_ZEROED; address 0 if it failed
    free                        before it: DEALLOC of `address`, which may be 0
    realloc                     before it: REALLOC_FROM with `address` the old one, unless that is 0;
                                after it: REALLOC_TO with `address` the new one, or 0, and `old` the old one
    the end of a thread         THREAD_EXIT

A forked child has a file of its own, its parent's exec counter, and in `fork_sequence` the last sequence number that
its parent had used when it forked; exec starts a new file, with one more in `execs` and 0 in `fork_sequence`.
"""

# A field of a struct is annotated with its kind, which is no type.
# mypy: disable-error-code="valid-type"
from __future__ import annotations

from heapwright.layout import Array, Atomic, Byte, Struct, Word, Word16, Word32
from heapwright.traces import events

MAGIC = int.from_bytes(b"HWRAW1\0\0", "little")
VERSION = 1
HEADER_BYTES = 4096
COMMAND_OFFSET = 256
CHUNK_BYTES = 64 * 1024
SUFFIX = ".hwraw"

ALLOC, ALLOC_ZEROED, DEALLOC, THREAD_EXIT = events.ALLOC, events.ALLOC_ZEROED, events.DEALLOC, events.THREAD_EXIT
REALLOC_TO, REALLOC_FROM = events.REALLOC, 6


class Header(Struct):
    magic: Word
    version: Word32
    pid: Word32
    parent: Word32
    execs: Word32
    fork_sequence: Word  # 0 in a process that was not forked from a recorded one
    clock: Word  # nanoseconds since 1970, when the file was made
    chunks: Atomic[Word]  # how many are claimed
    sequence: Atomic[Word]  # the last number taken
    space: Array[Byte, 200]
    command: Array[Byte, 3840]


class Chunk(Struct):
    thread: Word32
    zero: Word32
    count: Word  # of whole records


class Record(Struct):
    sequence: Word
    op: Byte
    log2_align: Byte
    flags: Word16  # none yet
    thread: Word32
    address: Word  # the result, or what is freed
    old: Word
    size: Word


RECORDS_PER_CHUNK = (CHUNK_BYTES - Chunk.SIZE) // Record.SIZE
