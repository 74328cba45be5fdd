"""The ring: one file that all processes of a recorded run map and fill, and that the collector empties as they run.

       0 +----------------+
         | Header         |  272 KiB: facts about the run, then a slot for each ticket in sight
  278528 +----------------+
         | Chunk, records |  64 KiB: 40 bytes of header and 1637 records of 40; each belongs to one thread at a time
         +----------------+
         | ...            |

A thread that needs a chunk takes the next ticket with `header.tickets.add(1)`. It waits until the ticket's slot names a
chunk, writes its process and its number into the chunk, and from then on is the only one that fills it. For a record,
the thread takes a stamp, writes the record, and then writes the chunk's new `count`. Records within the count are
whole.

Calls are recorded in phases. `header.phase` is odd while calls are recorded, and even in a pause; whoever starts or
stops the recording writes the next number. A thread looks at it at each call. When recording starts again, the thread
leaves its chunk and takes one of the new phase, and the conversion forgets all blocks: what became of them in the pause
is not known.

The collector (`heapwright.lab.collector`) keeps slots filled ahead of the tickets that are taken. It reads chunks while
they are being filled. A chunk that is full, or that its thread has left, or whose process has ended, is free again once
it is read, so no thread touches a chunk that it has filled or left. The file has a chunk for each living thread, and
some more.

Stamps order the records of all threads of a process. A stamp is the processor's clock, read after all earlier loads, if
the kernel says that all processors show the same time (`header.has_clock`); otherwise it is the next number of
`header.numbers`. The only thread of a process that has made a call reads the clock at once: its records are in its
own order.

A process numbers itself with `header.processes.add(1)`. Its first chunk begins with a `Process` in place of the first
records. A forked child writes into the same file; `forked_at` is the stamp of its parent's record of the fork. After
exec, the new program maps the file anew and is another process here.

Each call is recorded before or after it is made. So if two calls name one address, the stamp of the second is taken
after the record of the first is written, whichever threads make them:

    malloc, calloc, memalign    after: ALLOC or ALLOC_ZEROED; `block` 0 if it failed; for calloc, `old` is the number
                                of elements
    free                        before: DEALLOC of `block`, which may be 0
    realloc                     before: REALLOC_FROM with the old `block`, unless that is 0;
                                after: REALLOC_TO with the new `block`, or 0, and the old one in `old`
    realloc, in a sample        instead of REALLOC_TO, if its new block is not in the sample: REALLOC_AWAY
    a request, in a sample      CROWDED: there was no room to remember its block
    the end of a thread         THREAD_EXIT
    fork                        before, in the parent: FORK
"""

# A field of a struct is annotated with its kind, which is no type.
# mypy: disable-error-code="valid-type"
from __future__ import annotations

from heapwright.layout import Array, Atomic, Byte, Inline, Struct, Word, Word16, Word32
from heapwright.traces import operations

MAGIC = int.from_bytes(b"HWRAW6\0\0", "little")  # with the version
HEADER_BYTES = 272 * 1024
CHUNK_BYTES = 64 * 1024
SLOTS = 1 << 15  # so many threads may wait at once: a slot is not looked at when it is filled anew
SUFFIX = ".hwraw"

ALLOC, ALLOC_ZEROED, DEALLOC = operations.ALLOC, operations.ALLOC_ZEROED, operations.DEALLOC
THREAD_EXIT, REALLOC_TO = operations.THREAD_EXIT, operations.REALLOC
REALLOC_FROM, FORK = 6, 7
REALLOC_AWAY, CROWDED = 8, 9  # of a sample: see heapwright.layers.sampled
UNKNOWN_SITE = 0

# reasons in `header.stopped`, besides the collector's errnos
LATE = -1  # the collector gave no chunk for a second
ENDED = -2  # the run is over
SPENT = -3  # the trace has the size that it may have
WANTED = (ENDED, SPENT)

TICKET = 32  # a slot's bits above these are its ticket, plus 1; those below are the index of a chunk


class Loss(Struct):
    """The calls that were not recorded for one reason."""

    processes: Atomic[Word]
    calls: Atomic[Word]


class Header(Struct):
    magic: Word
    clock: Word  # nanoseconds since 1970, when the file was made
    has_clock: Word  # 1: stamps are the processor's clock
    stopped: Atomic[Word]  # not 0: the reason why there will be no more chunks
    phase: Atomic[Word]  # odd: calls are recorded
    is_controlled: Word  # 1: the program, and others, may start and stop the recording
    full: Inline[Loss]  # no chunk
    unmapped: Inline[Loss]  # no address space
    processes: Atomic[Word]
    tickets: Atomic[Word]  # that are taken
    beats: Atomic[Word]  # rises while the collector works
    numbers: Atomic[Word]  # the last stamp, if stamps are numbers
    slots: Array[Word, SLOTS]


class Slot(Struct):
    """The ticket that may take a chunk, and the chunk."""

    entry: Atomic[Word]


class Chunk(Struct):
    process: Word32  # the number of the process, from 1
    thread: Word32
    count: Atomic[Word]  # whole records
    tid: Word32  # the thread's number in Linux
    begins: Word32  # 1: the chunk begins with a Process
    left: Atomic[Word]  # 1: the thread has left the chunk
    phase: Word  # the odd one to which its calls belong


class Record(Struct):
    stamp: Word
    op: Byte
    log2_align: Byte
    flags: Word16  # none yet
    site: Word32  # the call stack that asked; UNKNOWN_SITE if it was not taken
    block: Word  # the address of the result, or of the freed block
    old: Word  # the old address, or the number of elements
    size: Word


class Process(Struct):
    pid: Word32
    parent: Word32  # the parent's PID, if the process was not forked from a recorded one
    forked_from: Word  # the number of the process that it was forked from; 0 if there is none
    forked_at: Word
    command: Array[Byte, 1016]  # as in /proc/self/cmdline


RECORDS_PER_CHUNK = (CHUNK_BYTES - Chunk.SIZE) // Record.SIZE
PROCESS_RECORDS = Process.SIZE // Record.SIZE  # records whose place a Process takes
