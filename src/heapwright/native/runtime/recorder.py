"""The recorder of a real process. Its records go to a shared mapping of the run's file, so they outlive the process.

Written in the dialect. A process maps the file at its first call of malloc. After that, the recorder needs no path,
descriptor or privilege, and no system call that a filter may forbid, because the collector, another process, empties
the chunks and offers them again (`heapwright.traces.raw`). So a program may become another user, call `chroot`, use up
its descriptors, limit its files or filter its system calls, and loses no record. If no chunk is offered for a second,
the recording ends, but the program goes on, and the lost calls are counted (`heapwright.native.runtime.tickets`).

Until the file is mapped, there are only system calls that the dynamic loader has just made. None is a cancellation
point.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD
from heapwright.layout import NULL, Atomic, Struct, Word
from heapwright.locks import acquire, release
from heapwright.native import c
from heapwright.native.runtime import tickets
from heapwright.native.runtime.introduction import introduce
from heapwright.native.runtime.kernel import errno, local, set_errno, set_local
from heapwright.native.runtime.linux import (
    ADDRESS_SPACE,
    CLOSE,
    CLOSE_ON_EXEC,
    HERE,
    MAY_MOVE,
    NO_RESERVE,
    OPEN_AT,
    OPEN_TO_WRITE,
    PAGE,
    PRCTL,
    READ_WRITE,
    SET_SECCOMP,
    SHARED,
    STRICT,
    WRITE,
)
from heapwright.native.runtime.process_facts import kernel_thread
from heapwright.traces.raw import (
    CHUNK_BYTES,
    FORK,
    HEADER_BYTES,
    PROCESS_RECORDS,
    RECORDS_PER_CHUNK,
    THREAD_EXIT,
    Chunk,
    Header,
    Loss,
    Process,
    Record,
)

CHUNK_SLOT, THREAD_SLOT, FORK_SLOT = 7, 6, 5  # of the thread's words
OFF = -1
WINDOW = 1 << 28  # bytes of the file that are mapped at first
SHARE = 4  # a mapping takes at most this part of a limited address space
LOW_HALF = (1 << 32) - 1
UNRECORDED = "heapwright: a process is not recorded: it cannot open the recording\n"
STANDARD_ERROR = 2


class Recorder(Struct):
    header: Header  # null before the first record, OFF if there is no file to write to
    window: Atomic[Word]  # bytes of the file that are mapped, from the header on
    process: Word  # its number; 0 before it has described itself
    loss: Loss  # not null: nothing more is recorded, and this counts the lost calls
    has_lost: Atomic[Word]  # whether the process is among those that lost calls
    has_clock: Word  # as in the header, until the clock is forbidden
    froze: Word  # the clock, when it was forbidden
    lock: Atomic[Word]
    threads: Atomic[Word]
    pid: Word  # of a forked child
    forked_from: Word  # as in its Process
    forked_at: Word
    path: Word  # of the run's file; null: the environment has it
    depth: Word  # of call stacks; only with `path`
    runs: Word  # files that `open_run` has opened
    sites: Atomic[Word]  # the tables of call stacks (`stacks.state`); 0 before the first request, OFF without


class Limit(Struct):
    """C's struct rlimit; no limit is -1."""

    now: Word
    maximum: Word


def recorder():
    """The library's own words."""
    return Recorder(c.process_memory(), c.recorder_words())


# --- a record


def record(operation, log2_align, address, old, size, site):
    """Append a record to the thread's chunk, if there is one. `old` is the argument of a realloc."""
    chunk = current_chunk()
    if not chunk:
        return
    is_last = not has_room_for_two(chunk)
    if is_last or operation == THREAD_EXIT:
        set_local(CHUNK_SLOT, NULL)  # a chunk that a thread has filled or left is no longer its own
    stamp = append(chunk, operation, log2_align, address, old, size, site)
    if operation == FORK:
        set_local(FORK_SLOT, stamp)
    elif operation == THREAD_EXIT and not is_last:
        chunk.left.store(1)


def append(chunk, operation, log2_align, address, old, size, site):
    """Write a record to a chunk that has room for it. Returns the stamp."""
    count = chunk.count.load()
    each = Record(chunk.memory, chunk.address + Chunk.SIZE + count * Record.SIZE)
    stamp = next_stamp()
    each.stamp = stamp
    each.op = operation
    each.log2_align = log2_align
    each.site = site
    each.block = address
    each.old = old
    each.size = size
    chunk.count.store(count + 1)
    return stamp


def has_room_for_two(chunk):
    """Whether a chunk will not be full with one more record."""
    return chunk.count.load() < RECORDS_PER_CHUNK - 1


def next_stamp():
    """A number above those of all records that are written already.

    `ticks` waits for the thread's earlier loads. While one thread alone has made calls, that is not necessary. Another
    thread is counted before it has its first block, and whoever has such a block sees the new count.
    """
    state = recorder()
    if state.has_clock:
        return c.ticks() if state.threads.load() > 1 else c.ticks_at_once()
    return next_number()


def next_number():
    """The next stamp without the processor's clock."""
    state = recorder()
    return state.froze + state.header.numbers.add(1) + 1


def prctl(heap, option, second, third, fourth, fifth):
    """Make the system call. In seccomp's strict mode the processor's clock is forbidden, so count on from here."""
    state = recorder()
    if option & LOW_HALF == SET_SECCOMP and second == STRICT and state.has_clock:
        state.froze = c.ticks()
        state.has_clock = 0
    return c.syscall(PRCTL, option, second, third, fourth, fifth)


def chunk_at_hand():
    """The thread's chunk, which has room for one more record; null if it has none."""
    return Chunk(c.process_memory(), local(CHUNK_SLOT))


def current_chunk():
    """The thread's chunk, perhaps a new one; null if recording has ended."""
    chunk = chunk_at_hand()
    if chunk:
        return chunk
    saved = errno()
    place = next_chunk()
    set_errno(saved)
    return chunk.at(place)


def next_chunk():
    """The address of a chunk of the thread with room for a record; 0 if recording is off or has ended."""
    state = recorder()
    if state.process == 0 and state.header.address != OFF and not state.loss:
        enter_once()
    if state.header.address == OFF:
        return NULL
    if not state.loss:
        renew()
    if state.loss:
        state.loss.calls.add(1)
        return NULL
    return local(CHUNK_SLOT)


def renew():
    """Give the thread a chunk, unless it has one: `enter` gives one to the process's first thread."""
    if local(CHUNK_SLOT) == NULL:
        place = claim_chunk(recorder().process)
        if place != NULL:
            set_local(CHUNK_SLOT, place)


def claim_chunk(process):
    """The address of a new chunk of this thread; 0 if there is none, and then `loss` counts by the reason."""
    state = recorder()
    index = tickets.next_index(state.header, state.has_clock, state.threads.load() > 1)
    if index == tickets.NO_CHUNK:
        return lose(state.header.full)
    chunk = Chunk(state.memory, place_of(index))
    if not chunk:
        return lose(state.header.unmapped)
    chunk.process = process
    chunk.phase = state.header.phase.load() | 1
    chunk.thread = thread_number()
    chunk.tid = kernel_thread()
    return chunk.address


def thread_number():
    """The thread's number, from 0. The thread's word holds the number plus 1."""
    if local(THREAD_SLOT) == 0:
        set_local(THREAD_SLOT, recorder().threads.add(1) + 1)
    return local(THREAD_SLOT) - 1


def lose(loss):
    """Count from now on the calls that this process does not record. Returns null."""
    state = recorder()
    state.loss = loss
    if state.has_lost.compare_exchange(0, 1):
        loss.processes.add(1)
    return NULL


# --- chunks


def place_of(index):
    """The address of a mapped chunk; 0 if there is no address space for it."""
    state = recorder()
    end = HEADER_BYTES + (index + 1) * CHUNK_BYTES
    window = state.window.load()
    while window < end:
        if not widen(window):
            return NULL
        window = state.window.load()
    return state.header.address + end - CHUNK_BYTES


def widen(window):
    """Map twice as much of the file as `window`, unless another thread has done so. Chunks in use do not move."""
    state = recorder()
    acquire(state.memory, state.lock)
    if state.window.load() == window and 2 * window <= affordable():
        # With an old size of 0, mremap makes a second mapping of a shared one.
        place = c.mremap(state.header.address, 0, 2 * window, MAY_MOVE)
        if place != -1:
            state.header = place
            state.window.store(2 * window)
    release(state.memory, state.lock)
    return state.window.load() > window


def affordable():
    """The address space that a mapping may take: unlimited, or a small part of a limit, which the program needs."""
    limit = c.on_stack(Limit)
    limit.now = -1
    c.getrlimit(ADDRESS_SPACE, limit.address)
    return MAX_WORD if limit.now < 0 else limit.now // SHARE


# --- the process


def enter_once():
    """Map the file and enter this process, unless another thread has done so."""
    state = recorder()
    acquire(state.memory, state.lock)
    if not state.header:
        state.header = map_file()
    if state.header.address != OFF and state.process == 0:
        state.has_clock = state.header.has_clock
        enter()
    release(state.memory, state.lock)


def enter_with_errno():
    """Enter this process, and keep errno."""
    saved = errno()
    enter_once()
    set_errno(saved)


def map_file():
    """Map the run's file. Returns the header's address, or OFF."""
    path = recorder().path
    if path == NULL:
        path = c.getenv(c.text("HEAPWRIGHT_RECORD"))
    if path == 0:
        return OFF
    file = c.syscall(OPEN_AT, HERE, path, OPEN_TO_WRITE | CLOSE_ON_EXEC, 0, 0)
    if file < 0 and recorder().path != NULL:
        return OFF
    if file < 0:
        # Nobody else notices. The loader prints a similar line for a library that it cannot open.
        c.syscall(WRITE, STANDARD_ERROR, c.text(UNRECORDED), len(UNRECORDED), 0, 0)
        return OFF
    window = max(HEADER_BYTES, min(WINDOW, affordable() // 2 & -PAGE))
    mapped = c.mmap(0, window, READ_WRITE, SHARED | NO_RESERVE, file, 0)
    c.syscall(CLOSE, file, 0, 0, 0, 0)
    recorder().window.store(window)
    return mapped


def enter():
    """Number the process, claim its first chunk, and describe the process there."""
    state = recorder()
    number = state.header.processes.add(1) + 1
    chunk = Chunk(state.memory, claim_chunk(number))
    if not chunk:
        return
    chunk.begins = 1
    process = Process(chunk.memory, chunk.address + Chunk.SIZE)
    process.pid = state.pid
    process.forked_from = state.forked_from
    process.forked_at = state.forked_at
    if state.forked_from == 0:
        introduce(process)
        if process.pid == 0:
            process.pid = kernel_thread()
    chunk.count.store(PROCESS_RECORDS)
    set_local(CHUNK_SLOT, chunk.address)
    state.process = number


# --- fork


def record_anew():
    """In a forked child: become a separate process in the same file, at once, while the parent's blocks are known."""
    state = recorder()
    if state.process != 0:
        state.forked_from = state.process
        state.forked_at = local(FORK_SLOT)
    state.process = 0
    state.loss = NULL
    state.has_lost.store(0)
    state.pid = kernel_thread()
    state.lock.store(0)
    state.threads.store(0)
    set_local(CHUNK_SLOT, NULL)
    set_local(THREAD_SLOT, 0)
    if state.header and state.header.address != OFF and state.header.stopped.load() == 0:
        enter_once()
