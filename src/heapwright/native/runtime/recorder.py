"""Where a real process's records go: a shared mapping of a file, so that they outlive the process.

Written in the dialect. The file grows by whole chunks that the file system promised before anything is stored in
them: a full disk ends the recording, not the program. No descriptor stays open, for programs close what they do
not know. See `heapwright.traces.raw` for the file.
"""

from __future__ import annotations

from heapwright.layout import NULL, Array, Atomic, Byte, Struct, Word
from heapwright.locks import acquire, release
from heapwright.native import c
from heapwright.native.runtime.kernel import errno, local, set_errno, set_local
from heapwright.native.runtime.linux import (
    EEXIST,
    MOST_PATH,
    NO_RESERVE,
    OPEN_NEW,
    OPEN_TO_READ,
    OPEN_TO_WRITE,
    OWNERS_ALONE,
    READ_WRITE,
    REAL_TIME,
    SHARED,
)
from heapwright.traces.raw import (
    CHUNK_BYTES,
    COMMAND_OFFSET,
    HEADER_BYTES,
    MAGIC,
    RECORDS_PER_CHUNK,
    VERSION,
    Chunk,
    Header,
    Record,
)

CHUNK_SLOT, THREAD_SLOT = 7, 6  # of the thread's words
OFF = -1
MOST_BYTES = 1 << 40  # of one file
MOST_GROWTH = 256  # chunks that the file grows by: as many as it has, up to here


class Recorder(Struct):
    header: Header  # null before the first record, OFF when there is nothing to write to
    room: Word  # chunks that the file has room for
    lock: Atomic[Word]
    threads: Atomic[Word]
    forked_at: Word  # the parent's last sequence number
    execs: Word
    is_full: Word  # the file could not grow: nothing more is recorded
    path: Array[Byte, MOST_PATH]


def recorder():
    """The library's own words."""
    return Recorder(c.process_memory(), c.recorder_words())


# --- a record


def record(operation, log2_align, address, old, size):
    """Append a record to the thread's chunk, if anything is recorded; `old` is what a realloc was given."""
    chunk = current_chunk()
    if not chunk:
        return
    header = recorder().header
    each = Record(chunk.memory, chunk.address + Chunk.SIZE + chunk.count * Record.SIZE)
    each.sequence = header.sequence.add(1) + 1
    each.op = operation
    each.log2_align = log2_align
    each.thread = chunk.thread
    each.address = address
    each.old = old
    each.size = size
    chunk.count += 1


def current_chunk():
    """The thread's chunk with room for one more record; null if nothing is recorded."""
    chunk = Chunk(c.process_memory(), local(CHUNK_SLOT))
    if chunk and chunk.count < RECORDS_PER_CHUNK:
        return chunk
    saved = errno()
    place = claim_chunk()
    set_errno(saved)
    return chunk.at(place)


def claim_chunk():
    """The address of a new chunk, owned by this thread; 0 if nothing is recorded or no more can be."""
    state = recorder()
    if not state.header:
        begin_once()
    if state.header.address == OFF or state.is_full:
        return NULL
    index = state.header.chunks.add(1)
    if not has_room(index):
        state.is_full = 1
        return NULL
    chunk = Chunk(state.memory, state.header.address + HEADER_BYTES + index * CHUNK_BYTES)
    chunk.thread = thread_number()
    set_local(CHUNK_SLOT, chunk.address)
    return chunk.address


def thread_number():
    """Threads are numbered from 0; the thread's word keeps one more."""
    if local(THREAD_SLOT) == 0:
        set_local(THREAD_SLOT, recorder().threads.add(1) + 1)
    return local(THREAD_SLOT) - 1


# --- the file


def begin_once():
    """Begin, unless another thread did so meanwhile."""
    state = recorder()
    acquire(state.memory, state.lock)
    if not state.header:
        state.header = begin()
    release(state.memory, state.lock)


def begin():
    """Make this process's file and map it; the header's address, or OFF."""
    folder = c.getenv(c.text("HEAPWRIGHT_RECORD"))
    if folder == 0:
        return OFF
    file = create(folder)
    if file < 0:
        return OFF
    mapped = OFF
    if c.posix_fallocate(file, 0, HEADER_BYTES) == 0:
        mapped = c.mmap(0, MOST_BYTES, READ_WRITE, SHARED | NO_RESERVE, file, 0)
    c.c_close(file)
    if mapped != OFF:
        fill_header(Header(c.process_memory(), mapped))
    return mapped


def create(folder):
    """A new file named after the process, and after how often it called exec."""
    state = recorder()
    state.execs = 0
    file = create_one(folder)
    while file < 0 and errno() == EEXIST:
        state.execs += 1
        file = create_one(folder)
    return file


def create_one(folder):
    """A new file's descriptor, or -1 with EEXIST if there is one of that name."""
    state = recorder()
    c.file_name(state.path.address, MOST_PATH, folder, c.getpid(), state.execs)
    return c.c_open(state.path.address, OPEN_NEW, OWNERS_ALONE)


def fill_header(header):
    """Say whose recording it is; the magic comes last, for it makes the file one."""
    state = recorder()
    header.version = VERSION
    header.pid = c.getpid()
    header.parent = c.getppid()
    header.execs = state.execs
    header.fork_sequence = state.forked_at
    header.clock = c.nanoseconds(REAL_TIME)
    command = c.c_open(c.text("/proc/self/cmdline"), OPEN_TO_READ, 0)
    if command >= 0:
        c.c_read(command, header.address + COMMAND_OFFSET, HEADER_BYTES - COMMAND_OFFSET - 1)
        c.c_close(command)
    header.magic = MAGIC


def has_room(index):
    """Whether the file has chunk `index`, growing it if need be."""
    state = recorder()
    if index < state.room:
        return True
    acquire(state.memory, state.lock)
    while index >= state.room and grow():
        pass
    release(state.memory, state.lock)
    return index < state.room


def grow():
    """Have the file system promise room for more chunks; whether it did."""
    state = recorder()
    file = c.c_open(state.path.address, OPEN_TO_WRITE, 0)
    if file < 0:
        return False
    more = min(max(state.room, 1), MOST_GROWTH)
    failed = c.posix_fallocate(file, HEADER_BYTES + state.room * CHUNK_BYTES, more * CHUNK_BYTES)
    c.c_close(file)
    if failed == 0:
        state.room += more
    return failed == 0


# --- fork


def record_anew():
    """In a forked child: leave the parent's file and begin one of our own."""
    state = recorder()
    if state.header and state.header.address != OFF:
        state.forked_at = state.header.sequence.load()
        c.munmap(state.header.address, MOST_BYTES)
    if state.header.address != OFF:
        state.header = NULL
    state.room = 0
    state.is_full = 0
    state.lock.store(0)
    state.threads.store(0)
    set_local(CHUNK_SLOT, NULL)
    set_local(THREAD_SLOT, 0)
