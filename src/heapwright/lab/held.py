"""A replay within a limit, up to a moment or to the first refused request; on request the process is held there.

The kernel itself sets the limit, with RLIMIT_DATA: the private writable memory that a process may have, by the break
and by mappings. So it is the same limit for each malloc. Addresses are not randomised, so a try repeats exactly.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from heapwright.lab.flat_file import functions_of
from heapwright.lab.jobs import job_file, refuse_failure, worker_call, write_names
from heapwright.lab.sample import RunError, too_long
from heapwright.layout import WORD
from heapwright.live.process import Process
from heapwright.native.jobs.hold_job import MAX_GROUPS, NO_GROUP, NO_LIMIT, REACHED, RELEASED, STARTED, Held, HoldJob
from heapwright.native.library import holder_library
from heapwright.traces.arrays import I64, Mask, np
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant
    from heapwright.traces.flat import Flat

NOT_RANDOM = 0x0040000  # ADDR_NO_RANDOMIZE of sys/personality.h
ASK = 0xFFFFFFFF
TIMEOUT = 600.0  # seconds of one try
GO = b"g"

Range = tuple[int, int]  # of addresses


@dataclass(frozen=True)
class Outcome:
    """How far a replay came: the events that succeeded, and why the next one did not."""

    done: int
    refused: bool = False  # the malloc returned null
    crash: str = ""  # the process ended instead

    @property
    def succeeded(self) -> bool:
        return not self.refused and not self.crash


class NotEnforced(RunError):
    """A limit that the kernel ignores."""

    def __init__(self) -> None:
        super().__init__("cannot be limited: this kernel does not enforce RLIMIT_DATA")


@cache
def worker_library() -> Path:
    """The holder's library. Its sources are hashed once, not for each try."""
    return holder_library()


@contextmanager
def hold_job(flat: Flat) -> Iterator[tuple[Path, Any]]:
    """Make a job with all events and a group for each slot. Yields its path and its struct, which serves many tries."""
    rest = flat.records.tobytes() + np.full(flat.slots, NO_GROUP, "<i8").tobytes()
    with job_file(HoldJob, rest) as (path, job):
        write_names(job.claim.functions, functions_of(flat.records))
        job.events = job.stop = len(flat)
        job.slots, job.limit = flat.slots, NO_LIMIT
        yield path, job


def attempt(path: Path, job: Any, contestant: Contestant, limit: int = NO_LIMIT) -> Outcome:
    """Replay the job's events in a fresh process that may get `limit` bytes of private writable memory.

    Raises RunError if it hangs, or if its malloc is not the claimed one.
    """
    job.limit, job.done, job.has_failed = limit, 0, 0
    with worker_call(path, job, worker_library(), contestant) as call, fixed_addresses():
        worker = subprocess.Popen(**call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        with ended(worker):
            _, errors = worker.communicate(timeout=TIMEOUT)
    if job.is_ignored:
        raise NotEnforced
    crash = crash_of(worker.returncode, errors, job, contestant) if worker.returncode else ""
    return Outcome(job.done, bool(job.has_failed), crash)


def crash_of(status: int, errors: bytes, job: Any, contestant: Contestant) -> str:
    """How a limited process ended. A malloc that is not the claimed one is an error."""
    try:
        refuse_failure(job, contestant, status, errors)
    except RunError as error:
        if status > 0:
            raise
        return str(error)
    return ""


@contextmanager
def ended(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a worker that is left, whatever happens, and turn a timeout into a RunError."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise RunError(too_long(TIMEOUT)) from error
    finally:
        worker.kill()
        worker.wait()


@contextmanager
def fixed_addresses() -> Iterator[None]:
    """Give the processes that this thread starts the same addresses each time, where the kernel allows it."""
    libc = ctypes.CDLL(None)
    before = libc.personality(ctypes.c_ulong(ASK))
    libc.personality(ctypes.c_ulong(before | NOT_RANDOM))
    try:
        yield
    finally:
        libc.personality(ctypes.c_ulong(before))


# --- a held process


@dataclass
class Moment:
    """A process held at a moment: what it did, its memory, and for each slot its block's address and usable bytes."""

    worker: Worker
    outcome: Outcome
    source: Process
    ranges: list[Range]  # of the heap: what was not there before the first event, or has live blocks
    blocks: I64  # 0 for an empty slot
    usable: I64  # UNREPORTED if the malloc does not say
    grown: int  # bytes of private writable memory that the events added

    def release(self, groups: I64) -> list[int]:
        """The resident bytes that go with each group; `groups` has a number, or NO_GROUP, for each slot.

        A child of the held process frees a group's blocks and asks the malloc to give back what it can. What it gives
        back without the group does not count. This can be asked once.
        """
        count = int(groups.max(initial=NO_GROUP)) + 1
        if count > MAX_GROUPS:
            raise ValueError(f"{count} groups are too many: at most {MAX_GROUPS}")
        with self.worker.path.open("r+b") as file:
            file.seek(-groups.size * WORD, os.SEEK_END)
            file.write(groups.astype("<i8").tobytes())
        self.worker.job.groups = count
        self.worker.go_on(RELEASED)
        released = [int(self.worker.job.released[number]) for number in range(count + 1)]
        return [each - released[-1] for each in released[:-1]]


@dataclass
class Worker:
    """A process that waits for a letter at the points where it writes one."""

    path: Path
    job: Any
    contestant: Contestant
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def wait_for(self, letter: int) -> None:
        """Wait until the process writes a letter. Raises RunError if it ends instead."""
        assert self.process.stdout
        if self.process.stdout.read(1) != bytes([letter]):
            status = self.process.wait()
            self.errors.seek(0)
            refuse_failure(self.job, self.contestant, status, self.errors.read())
            raise RunError("ended before its end")

    def go_on(self, letter: int) -> None:
        """Let the process go on until it writes a letter."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(GO)
            self.process.stdin.flush()
        self.wait_for(letter)


@contextmanager
def held(flat: Flat, contestant: Contestant, stop: int, limit: int = NO_LIMIT) -> Iterator[Moment]:
    """Hold a replay after `stop` events, or at the first refused request. Each block's pages are touched.

    Raises RunError if the process ends before.
    """
    with hold_job(flat) as (path, job):
        job.stop, job.limit, job.is_held = stop, limit, 1
        with started(path, job, contestant) as worker:
            worker.wait_for(STARTED)
            source = Process(worker.process.pid)
            before = data_ranges(source)
            worker.go_on(REACHED)
            if job.is_ignored:
                raise NotEnforced
            yield moment_of(worker, source, before)
            source.close()


@contextmanager
def started(path: Path, job: Any, contestant: Contestant) -> Iterator[Worker]:
    """Start a worker that is to be held."""
    with (
        worker_call(path, job, worker_library(), contestant) as call,
        tempfile.TemporaryFile() as errors,
    ):
        with fixed_addresses():
            process = subprocess.Popen(**call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        with process, ended(process):
            yield Worker(path, job, contestant, process, errors)


def moment_of(worker: Worker, source: Process, before: list[Range]) -> Moment:
    """Read where the blocks are, and which memory the malloc has."""
    job = worker.job
    table = np.frombuffer(source.read(job.table, job.slots * Held.SIZE), dtype_of(Held))
    blocks = table["block"].astype(np.int64)
    idle = [each for each in before if not lies_in(blocks, each).any()]
    source.look_again()
    ranges = without(data_ranges(source), idle)
    outcome = Outcome(job.done, bool(job.has_failed))
    return Moment(worker, outcome, source, ranges, blocks, table["usable"].astype(np.int64), job.data - job.data_before)


def lies_in(addresses: I64, extent: Range) -> Mask:
    found: Mask = (addresses >= extent[0]) & (addresses < extent[1])
    return found


def data_ranges(source: Process) -> list[Range]:
    """The private writable memory without that of a file, the data of libraries, and the stack."""
    found = [(each.start, each.end) for each in source.mappings if each.is_private_data and each.path != "[stack]"]
    return without(found, [module.bss for module in source.modules()])


def without(ranges: list[Range], taken: list[Range]) -> list[Range]:
    """The parts of ranges that are not taken, in the order of their addresses; those that touch are one."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        place = start
        for first, last in [*sorted(each for each in taken if each[0] < end and each[1] > start), (end, end)]:
            if first > place:
                found.append((place, first))
            place = max(place, last)
    return joined(found)


def joined(ranges: list[Range]) -> list[Range]:
    found: list[Range] = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found
