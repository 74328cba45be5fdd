"""Jobs: a file says what to do, a fresh process does it and writes the results into the file.

The process is `true` with two libraries preloaded: the allocator's (none for the C library's malloc), and one that does
the job when it is loaded. So an allocator is measured as real programs use it: through its C functions, from the first
byte of its heap on. Both sides read the file through one struct. Its `claim` names the library that malloc and its
relatives must come from. Without this check, the C library's malloc might be measured instead, because the dynamic
linker skips a library that it cannot load.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.lab.crew import Crew
from heapwright.lab.sample import RunError, ending, too_long
from heapwright.layout import StructMeta
from heapwright.memory import BufferMemory
from heapwright.native.jobs.claim import FOREIGN
from heapwright.preload import preloaded

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant

SKIPPED = r"object '{}' from LD_PRELOAD cannot be preloaded \(([^)]*)\)"  # the dynamic linker's message


@contextmanager
def job_file(struct: StructMeta, rest: Any = b"") -> Iterator[tuple[Path, Any]]:
    """Make a zeroed job file with `rest` behind its struct. Yields its path and the struct."""
    with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
        path = Path(work, "job")
        with path.open("w+b") as file:
            file.write(bytes(struct.SIZE))
            file.write(rest)
            file.flush()
            with mmap.mmap(file.fileno(), struct.SIZE) as data:
                yield path, struct(BufferMemory(data), 0)


def do_job(
    path: Path,
    job: Any,
    worker: Path,
    contestant: Contestant,
    timeout: float,
    gave_up: Mapping[int, str] | None = None,
    crew: Crew | None = None,
) -> None:
    """Start a process that does the job with a malloc and its environment. The job's claim names the functions it uses.

    `gave_up` explains the worker's own exit statuses. The process belongs to `crew`, which may end it. Raises RunError
    if the process crashes or hangs, or if its malloc is not the claimed one.
    """
    with worker_call(path, job, worker, contestant) as call, (crew or Crew()).started(call) as process:
        try:
            _, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise RunError(too_long(timeout)) from error
    refuse_failure(job, contestant, process.returncode, errors, gave_up)


@contextmanager
def worker_call(path: Path, job: Any, worker: Path, contestant: Contestant) -> Iterator[dict[str, Any]]:
    """The command and the environment of a process that does the job, as arguments for `subprocess`."""
    program = shutil.which("true") or "/bin/true"
    # the allocator's library comes last, so that its constructors run first
    with preloaded(*filter(None, (worker, contestant.library))) as value:
        fixed = {"LD_PRELOAD": value, "HEAPWRIGHT_JOB": str(path)}
        if contestant.library:
            write_text(job.claim.library, value.split()[-1])
        yield {"args": [program], "env": {"PATH": os.defpath, **contestant.environment, **fixed}}


def refuse_failure(
    job: Any, contestant: Contestant, status: int, errors: bytes, gave_up: Mapping[int, str] | None = None
) -> None:
    """Raise RunError if a worker ended with another status than 0."""
    if status == FOREIGN:
        raise RunError(foreign(job.claim, contestant, errors.decode(errors="replace")))
    if status != 0:
        raise RunError((gave_up or {}).get(status) or ending(status, errors))


def foreign(claim: Any, contestant: Contestant, errors: str) -> str:
    """The error for a function that came from another library, with the dynamic linker's reason if it gave one."""
    reason = re.search(SKIPPED.format(re.escape(read_text(claim.library))), errors)
    told = f" ({reason[1]})" if reason else ""
    named = contestant.library or "the C library"
    return f"gets {read_text(claim.wrong)} from {read_text(claim.found)}, not from {named}{told}"


# --- texts in a job


def write_names(array: Any, names: Iterable[str]) -> None:
    """Store several names, each with a zero byte at its end."""
    write_text(array, "\0".join((*names, "")))


def write_text(array: Any, text: str) -> None:
    """Store a text and its zero byte."""
    data = os.fsencode(text) + b"\0"
    if len(data) > len(array):
        raise RunError(f"cannot be given a text of {len(data) - 1} bytes: at most {len(array) - 1} fit")
    array.memory.data[array.address : array.address + len(data)] = data


def read_text(array: Any) -> str:
    """The text in an array, up to its first zero byte."""
    data = bytes(array.memory.data[array.address : array.address + len(array)])
    return os.fsdecode(data.partition(b"\0")[0])
