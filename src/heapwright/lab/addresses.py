"""A replay that logs where each block is, of any malloc, window by window.

    with followed(contestant, flat.slots) as follower:
        for window in windows(flat.records):
            addresses = follower.do(window)    # one for each event; the process now stands still

An event that frees has the address of the block that it frees. Without a block, as for free(NULL), it is 0.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from heapwright.lab.flat_file import functions_of
from heapwright.lab.jobs import job_file, refuse_failure, worker_call, write_names
from heapwright.lab.sample import RunError, too_long
from heapwright.native.jobs.replay_addresses import Address, Job
from heapwright.native.jobs.replay_step import Slot
from heapwright.native.library import address_logger_library
from heapwright.traces.arrays import I64, np
from heapwright.traces.flat import FlatEvent
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heapwright.lab.contestant import Contestant
    from heapwright.traces.flat import Flat

CAPACITY = 1 << 16  # events of a window
TIMEOUT = 600.0  # seconds, for one window


class Follower:
    """A replaying process that stands still between two windows of events."""

    def __init__(
        self, process: subprocess.Popen[bytes], contestant: Contestant, path: Path, job: Any, errors: IO[bytes]
    ):
        self.pid = process.pid
        self._process, self._contestant, self._job, self._errors = process, contestant, job, errors
        events = Job.SIZE + (job.slots + 1) * Slot.SIZE
        self._events = np.memmap(path, dtype_of(FlatEvent), "r+", events, job.capacity)
        self._addresses = np.memmap(path, "<i8", "r", events + job.capacity * FlatEvent.SIZE, job.capacity)
        self._done = 0

    def do(self, records: NDArray[Any]) -> I64:
        """Do some events, at most a window's. Returns the address of each one's block.

        Raises RunError if the process crashes or hangs.
        """
        self._events[: len(records)] = records
        self._job.count = len(records)
        with suppress(BrokenPipeError):
            piped(self._process.stdin).write(b"\0")
        self.wait(f"after {self._done:,} events: ")
        self._done += len(records)
        return np.array(self._addresses[: len(records)])

    def wait(self, when: str = "") -> None:
        """Wait until the process stands still. Raises RunError if it has ended, or does not stop."""
        answer = piped(self._process.stdout)
        if not select.select([answer], [], [], TIMEOUT)[0]:
            self._process.kill()
            raise RunError(f"{when}{too_long(TIMEOUT)}")
        if not answer.read(1):
            self._tell_end(when)

    def _tell_end(self, when: str) -> None:
        """Raise RunError with the way in which the process ended."""
        status = self._process.wait()
        self._errors.seek(0)
        try:
            refuse_failure(self._job, self._contestant, status, self._errors.read())
        except RunError as error:
            raise RunError(f"{when}{error}") from error
        raise RunError(f"{when}ended early")


@contextmanager
def followed(
    contestant: Contestant, slots: int, functions: Sequence[str], capacity: int = CAPACITY
) -> Iterator[Follower]:
    """Start a process with a malloc that replays windows of events with so many slots. It ends with the context.

    `functions` are those of malloc's that the events call. Raises RunError if the process crashes or hangs, or if its
    malloc is not the contestant's.
    """
    with job_file(Job) as (path, job), tempfile.TemporaryFile() as errors:
        write_names(job.claim.functions, functions)
        job.slots, job.capacity = slots, capacity
        os.truncate(path, Job.SIZE + (slots + 1) * Slot.SIZE + capacity * (FlatEvent.SIZE + Address.SIZE))
        with worker_call(path, job, address_logger_library(), contestant) as call:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
            with subprocess.Popen(**call, **pipes, stderr=errors) as process:
                follower = Follower(process, contestant, path, job, errors)
                try:
                    follower.wait()
                    yield follower
                finally:
                    piped(process.stdin).close()  # the process ends itself


def piped(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def windows(records: NDArray[Any], capacity: int = CAPACITY) -> Iterator[NDArray[Any]]:
    """The records, as many at a time as a window holds."""
    for first in range(0, len(records), capacity):
        yield records[first : first + capacity]


def addresses_of(flat: Flat, contestant: Contestant) -> I64:
    """The address of each event's block in a replay of all events. Raises RunError as `followed` does."""
    with followed(contestant, flat.slots, functions_of(flat.records)) as follower:
        return np.concatenate([np.zeros(0, np.int64), *(follower.do(each) for each in windows(flat.records))])
