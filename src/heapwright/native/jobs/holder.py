"""Replay a job up to a moment or to the first refused request, within a limit, and hold the process there.

Written in the dialect. The limit is RLIMIT_DATA: the kernel counts all private writable memory, by the break and by
mappings, whatever malloc asks for it. A held process writes a letter and waits for one, so that the lab can read its
memory. Then it forks once for each group of blocks: the child frees the group, and its resident memory shows what the
malloc gives back.
"""

from __future__ import annotations

from heapwright.layout import NULL, Byte, Struct, Word
from heapwright.native import c
from heapwright.native.jobs.hold_job import NO_LIMIT, REACHED, RELEASED, STARTED, Group, Held, HoldJob
from heapwright.native.jobs.origin import require
from heapwright.native.jobs.replay_memory import is_usable_size_told
from heapwright.native.jobs.replay_step import Slot, resident_table, step
from heapwright.native.jobs.replayer import touch
from heapwright.native.runtime.linux import (
    DATA_SIZE,
    OPEN_TO_READ,
    OPEN_TO_WRITE,
    PAGE,
    POPULATE,
    PRIVATE,
    PRIVATE_ANONYMOUS,
    READ_WRITE,
    SHARED,
)
from heapwright.native.runtime.process_facts import Text, number_at
from heapwright.stats import UNREPORTED
from heapwright.traces.events import REALLOC
from heapwright.traces.flat import FlatEvent

INPUT, OUTPUT = 0, 1


class Letter(Struct):
    code: Byte


class Limits(Struct):
    """A struct rlimit of sys/resource.h."""

    soft: Word
    hard: Word


# --- the limit


def data_bytes():
    """The bytes of private writable memory."""
    return bytes_in(c.text("/proc/self/status"), c.text("VmData:"))


def touched_bytes():
    """The resident bytes that no file has, counted page by page: the sums in statm are off by some pages."""
    return bytes_in(c.text("/proc/self/smaps_rollup"), c.text("\nAnonymous:"))


def bytes_in(path, label):
    """The bytes that a file of /proc has behind a label."""
    text = c.on_stack(Text)
    file = c.c_open(path, OPEN_TO_READ, 0)
    size = c.c_read(file, text.address, Text.SIZE - 1)
    c.c_close(file)
    text.letters[max(size, 0)] = 0
    place = c.strstr(text.address, label)
    return number_at(text, place - text.address) * 1024 if place != 0 else 0


def set_limit(size):
    """Let the process have at most `size` bytes of private writable memory."""
    limits = c.on_stack(Limits)
    c.getrlimit(DATA_SIZE, limits.address)
    limits.soft = size
    c.setrlimit(DATA_SIZE, limits.address)


def is_ignored(limit):
    """Whether the kernel maps more than the limit, as with its option `ignore_rlimit_data`."""
    place = c.mmap(0, limit + PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    if place != -1:
        c.munmap(place, limit + PAGE)
    return place != -1


# --- events


def follow(job, events, table):
    """Do events until one is refused."""
    for i in range(job.stop):
        job.done = i
        event = FlatEvent(job.memory, events + i * FlatEvent.SIZE)
        made = step(event, Slot(job.memory, table + event.slot * Held.SIZE))
        if made == NULL and event.op <= REALLOC and event.size > 0:
            job.has_failed = 1
            return
        if job.is_held != 0 and made != NULL:
            touch(job.memory, made, event.size)
    job.done = job.stop


def follow_within_limit(job, events, table):
    """Do events under the limit, which is lifted afterwards."""
    job.data_before = data_bytes()
    if job.limit != NO_LIMIT:
        set_limit(job.data_before + job.limit)
        job.is_ignored = int(is_ignored(job.limit))
    follow(job, events, table)
    job.data = data_bytes()
    set_limit(NO_LIMIT)


# --- a held process


def say(letter):
    """Write a letter to the output, and wait for one. Returns whether one came."""
    place = c.on_stack(Letter)
    place.code = letter
    c.c_write(OUTPUT, place.address, 1)
    return c.c_read(INPUT, place.address, 1) == 1


def note_usable_sizes(job, table):
    """Add the usable bytes of each live block to its row."""
    is_told = is_usable_size_told()
    for i in range(job.slots):
        row = Held(job.memory, table + i * Held.SIZE)
        if row.block != NULL:
            row.usable = c.malloc_usable_size(row.block) if is_told else UNREPORTED


def release_groups(job, table, groups):
    """Measure what each group alone gives back, in a child for each; and after the last one, what none does."""
    for number in range(job.groups + 1):
        child = c.fork()
        if child == 0:
            release_group(job, table, groups, number)
            c.exit_now(0)
        c.waitpid(child, 0, 0)


def release_group(job, table, groups, number):
    """Free the blocks of a group, and note how much resident memory goes when the malloc is asked to give it back."""
    before = touched_bytes()
    for i in range(job.slots):
        row = Held(job.memory, table + i * Held.SIZE)
        if row.block != NULL and Group(job.memory, groups + i * Group.SIZE).number == number:
            c.free(row.block)
    give_back()
    job.released[number] = before - touched_bytes()


def give_back():
    """Ask the malloc to return free memory: glibc and ours, mimalloc, tcmalloc."""
    collect, release = c.address_if_any("mi_collect"), c.address_if_any("MallocExtension_ReleaseFreeMemory")
    if collect != 0:
        c.call(collect, 1)
    elif release != 0:
        c.call(release, 0)
    else:
        c.malloc_trim(0)


# --- the job


def hold():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = HoldJob(c.process_memory(), c.mmap(0, HoldJob.SIZE, READ_WRITE, SHARED, file, 0))
    require(job.claim)
    size = HoldJob.SIZE + job.events * FlatEvent.SIZE + job.slots * Group.SIZE
    events = c.mmap(0, size, READ_WRITE, PRIVATE | POPULATE, file, 0) + HoldJob.SIZE
    job.table = resident_table(job, Held.SIZE)
    if job.is_held != 0 and not say(STARTED):
        c.exit_now(0)
    follow_within_limit(job, events, job.table)
    if job.is_held != 0:
        stay(job, file)
    c.exit_now(0)
    return 0


def stay(job, file):
    """Hold the process at the moment; on request, release groups, which are in the file by then."""
    note_usable_sizes(job, job.table)
    if say(REACHED):
        start = HoldJob.SIZE + job.events * FlatEvent.SIZE
        whole = c.mmap(0, start + job.slots * Group.SIZE, READ_WRITE, SHARED, file, 0)
        release_groups(job, job.table, whole + start)
        say(RELEASED)
