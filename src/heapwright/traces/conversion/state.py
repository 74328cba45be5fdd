"""What the conversion knows of a run: structs in its own mappings.

A pass reads the stamp `now` first and then converts the records with smaller stamps. If two records name one address,
the stamp of the second was taken when the first was written. So the pass that converts the second finds the first, or
an earlier pass did. The order of what happens at an address is exact, however late a thread is.
"""

# A field of a struct is annotated with its kind, which is no type.
# mypy: disable-error-code="valid-type"
from __future__ import annotations

from heapwright.layout import NULL, Array, Byte, Inline, Struct, Word, Word16, Word32
from heapwright.traces import raw

MAX_CHUNKS = 1 << 16
CAPACITY = 1 << 17  # events in a process's columns
ROOM = 4  # events that one record may become
EXPLANATIONS = 1 << 12
ARENA = 1 << 20
UNMAPPED = -1


class Block(Struct):
    """An entry of a table: a block that is or was at an address."""

    key: Word  # the address; NULL: the entry is empty
    size: Word
    number: Word  # of the block; INHERITED_YET if only the parent used it; once freed, an `Again.freed_event`
    site: Word32
    thread: Word16  # the low bits of the name of the one that started it, or once freed, of the one that freed it
    log2_align: Byte
    state: Byte


LIVE, FREED, MISSED = 1, 2, 4  # bits of a state; the last one: a free was missed here
NAME = (1 << 16) - 1  # the bits of a thread's name in a block
INHERITED_YET = -1


class Table(Struct):
    entries: Word  # their address; NULL before the first
    mask: Word
    used: Word  # entries that are not empty
    freed: Word  # of these, those not live
    advise: Word  # the address of C's madvise; NULL: the kernel is told nothing
    moved: Inline[Block]  # an entry on its way to another place


class Snapshot(Struct):
    """The blocks of a process when it forked, for the child."""

    next: Snapshot
    stamp: Word
    table: Inline[Table]


class Totals(Struct):
    """The figures of `heapwright.traces.events.Summary`, so far."""

    events: Word
    allocs: Word
    zeroed_allocs: Word
    reallocs: Word
    deallocs: Word
    null_deallocs: Word
    thread_exits: Word
    failed: Word
    inherited: Word
    threads: Word
    cross_thread_deallocs: Word
    blocks: Word
    total_bytes: Word
    peak_live_bytes: Word
    live_blocks_at_peak: Word
    peak_live_blocks: Word
    live_bytes_at_end: Word
    live_blocks_at_end: Word


class Again(Struct):
    """Releases of blocks that had been released, and the first one."""

    count: Word
    key: Word  # the address
    freed_event: Word  # the events up to the first release; ~n if it became no event itself
    freed_thread: Word  # the name of a ThreadState
    event: Word  # events up to it
    thread: Word


class Repairs(Struct):
    damaged: Word
    unfinished: Word
    unmatched_frees: Word
    unmatched_reallocs: Word
    unmatched_failures: Word
    missing_frees: Word
    reallocs_to_zero: Word
    forgotten: Word  # blocks
    crowded: Word
    double_frees: Inline[Again]
    freed_reallocs: Inline[Again]


class Columns(Struct):
    """Events that are not written yet, in the columns of a trace's chunk (`heapwright.traces.columns`)."""

    kind: Array[Byte, CAPACITY]
    thread: Array[Word32, CAPACITY]
    align: Array[Byte, CAPACITY]
    size: Array[Word, CAPACITY]
    since: Array[Word, CAPACITY]
    count: Array[Word32, CAPACITY]
    time: Array[Word, CAPACITY]
    site: Array[Word32, CAPACITY]


class Lengths(Struct):
    """How many numbers are in the columns."""

    events: Word  # in kind, thread, time and site
    aligns: Word
    sizes: Word
    sinces: Word
    counts: Word
    odd_counts: Word  # of the counts, those that are not 1
    sites: Word  # of the sites, those that are not 0
    time: Word  # of the last event; 0 before the first of these columns


class Explanations(Struct):
    """Records that explain call stacks (`heapwright.traces.raw_stacks`) and are not handed over yet."""

    records: Array[Byte, EXPLANATIONS * raw.Record.SIZE]


class ThreadState(Struct):
    next: ThreadState  # of the process
    process: ProcessState
    number: Word
    tid: Word
    has_exited: Word
    name: Word  # among the threads with events, plus 1; 0: it has none yet
    stamp: Word  # of its next record
    first: ChunkState  # the chunks that are not converted, oldest first
    last: ChunkState
    moved: Inline[Block]  # the block of a realloc that has begun; its key is NULL if there is none


class ChunkState(Struct):
    """What is known of one chunk."""

    thread: ThreadState  # null: nobody uses it yet
    next: ChunkState  # of the thread
    chunk: raw.Chunk
    taken: Word  # records that are converted
    limit: Word  # those that this pass may convert


class ProcessState(Struct):
    next: ProcessState  # in the order of their numbers
    number: Word
    has_ended: Word
    has_begun: Word  # to be converted: it has what it inherited
    facts: Inline[raw.Process]
    thread: ThreadState
    snapshot: Snapshot
    table: Inline[Table]
    columns: Columns
    filled: Inline[Lengths]
    explanations: Explanations
    explained: Word  # records there
    time: Word  # of the last event
    phase: Word  # of the recording; 0 before the first record
    forgotten: Word  # entries of the table that are done, while blocks are being forgotten
    first_block: Word  # before the columns' first event: blocks, live bytes and live blocks
    live_bytes: Word
    live_blocks: Word
    totals: Inline[Totals]
    repairs: Inline[Repairs]


class State(Struct):
    header: raw.Header
    room: Word  # chunks of the file
    issued: Word  # tickets whose slots are filled
    now: Word  # the stamp of this pass: later records are left to the next
    began: Word  # the stamp of time 0
    elapsed: Word  # nanoseconds from then to `now`; 0 if stamps are numbers
    process: ProcessState  # the first
    living: Word  # how many have not ended
    arena: Word  # the free part of the last mapping for states
    arena_end: Word
    active: Word  # how many chunks are issued and not yet free again; their indices are in `order`
    free: Word  # how many are free; their indices are in `stack`
    order: Array[Word32, MAX_CHUNKS]
    stack: Array[Word32, MAX_CHUNKS]
    chunks: Array[Byte, MAX_CHUNKS * ChunkState.SIZE]
    advise: Word  # for the tables
    heap: Array[Word, MAX_CHUNKS]  # the threads of a process that have records to convert
    planes: Array[Byte, CAPACITY * 8]  # of one column


def allocate(state, size):
    """The address of zeroed memory for a state that lasts. Returns NULL if the kernel gives none."""
    if state.arena_end - state.arena < size:
        place = state.memory.mmap(ARENA)
        if place == UNMAPPED:
            return NULL
        state.arena = place
        state.arena_end = place + ARENA
    place = state.arena
    state.arena += size
    return place


def chunk_state(state, index):
    """The state of the chunk with an index."""
    return ChunkState(state.memory, state.chunks.address + index * ChunkState.SIZE)


def chunk_at(state, index):
    """The chunk with an index."""
    return raw.Chunk(state.memory, state.header.address + raw.HEADER_BYTES + index * raw.CHUNK_BYTES)


def record_at(chunk, index):
    """The record with an index in its chunk."""
    return raw.Record(chunk.memory, chunk.address + raw.Chunk.SIZE + index * raw.Record.SIZE)


def index_of(chunk, record):
    """The index of a record in its chunk."""
    return (record.address - chunk.address - raw.Chunk.SIZE) // raw.Record.SIZE
