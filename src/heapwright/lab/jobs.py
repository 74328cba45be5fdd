"""A job: a file says what to do, a fresh process does it, and then the results stand in the file.

The process is `true` with two libraries preloaded: the allocator's (or none: the C library's own), and the one that
does the job when it is loaded. So an allocator is measured as real programs use it: by its C names, from the first
byte of its heap on. Both sides read the file through one struct.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heapwright.lab.sample import RunError, ending, too_long
from heapwright.layout import Bytes, StructMeta


@contextmanager
def job_file(struct: StructMeta, rest: Any = b"") -> Iterator[tuple[Path, Any]]:
    """A job file of zeros, with `rest` behind its struct: its path, and the struct in it."""
    with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
        path = Path(work, "job")
        with path.open("w+b") as file:
            file.write(bytes(struct.SIZE))
            file.write(rest)
            file.flush()
            with mmap.mmap(file.fileno(), struct.SIZE) as data:
                yield path, struct(Bytes(data), 0)


def do_job(
    path: Path, worker: Path, library: Path | None, timeout: float, gave_up: Mapping[int, str] | None = None
) -> None:
    """Have a process do the job with the malloc of `library`, or the C library's.

    `gave_up` says what a status of the worker's own means. Raises RunError when the process dies or hangs.
    """
    # the allocator's library comes last, so that its constructors run first
    libraries = [str(each) for each in (worker, library) if each is not None]
    environment = {"PATH": os.defpath, "LD_PRELOAD": " ".join(libraries), "HEAPWRIGHT_JOB": str(path)}
    program = shutil.which("true") or "/bin/true"
    try:
        done = subprocess.run([program], env=environment, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise RunError(too_long(timeout)) from error
    if done.returncode != 0:
        raise RunError((gave_up or {}).get(done.returncode) or ending(done.returncode, done.stderr))
