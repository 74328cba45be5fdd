"""The process that follows a trace. It waits at each sample until the lab has looked at it."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from heapwright.lab.jobs import refuse_failure, worker_call
from heapwright.lab.sample import RunError, too_long

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant

GO = b"g"


class Worker:
    """A started worker: its process, and the pipes through which it reports a sample and hears that it may go on."""

    def __init__(self, process: subprocess.Popen[bytes], heard: int, said: int, timeout: float):
        self.process, self._heard, self._said, self._timeout = process, heard, said, timeout

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self) -> bool:
        """Wait for the next sample. False once the process has ended. Raises RunError if neither happens in time."""
        ready, _, _ = select.select([self._heard], [], [], self._timeout)
        if not ready:
            raise RunError(too_long(self._timeout))
        return bool(os.read(self._heard, 1))

    def go_on(self) -> None:
        os.write(self._said, GO)


@contextmanager
def started(path: Path, job: Any, library: Path, contestant: Contestant, timeout: float) -> Iterator[Worker]:
    """Start a worker. Afterwards its end is judged: RunError if it crashed. It is killed if the context raises."""
    (heard, told), (listening, said) = os.pipe(), os.pipe()
    job.told, job.heard = told, listening
    with worker_call(path, job, library, contestant) as call, tempfile.TemporaryFile() as errors:
        try:
            process = launched(call, (told, listening), errors)
            with killed_on_error(process):
                yield Worker(process, heard, said, timeout)
                status = process.wait(timeout)
        finally:
            os.close(heard)
            os.close(said)
        errors.seek(0)
        refuse_failure(job, contestant, status, errors.read())


def launched(call: dict[str, Any], ends: tuple[int, int], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process with its ends of the pipes, which are closed here."""
    try:
        return subprocess.Popen(**call, pass_fds=ends, stdout=subprocess.DEVNULL, stderr=errors)
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise
