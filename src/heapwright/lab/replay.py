"""One trace on one malloc, in a fresh process that does nothing else.

The process is `true` with two libraries preloaded: the allocator's (or none: the C library's own) and the replayer.
So the allocator is measured as real programs use it: by its C names, from the first byte of its heap on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

from heapwright.errors import Mendable
from heapwright.native.library import replayer_library
from heapwright.native.replayer_job import JOB_BYTES, JobResult, job_bytes, read_job

if TYPE_CHECKING:
    from heapwright.traces.flat import Flat

SECONDS = 0.5  # no round begins after so long
SAMPLES = 2000  # times that the C library's malloc is asked for its size


class ReplayError(Mendable):
    """A replay that did not end: one line that says how."""


@dataclass(frozen=True)
class Contestant:
    """A malloc to measure: its name, its library (None is the C library), and whether it tells its peak itself."""

    name: str
    library: Path | None
    is_ours: bool


def replay(flat: Flat, contestant: Contestant, rounds: int, timeout: float = 600) -> JobResult:
    """Replay flat events once with touched pages, then up to `rounds` times, or SECONDS, against the clock.

    Raises ReplayError when the process dies, hangs or cannot be started.
    """
    sample = max(1, len(flat) // SAMPLES) if contestant.library is None else 0
    with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
        path = Path(work, "job")
        with path.open("wb") as file:
            file.write(job_bytes(len(flat), flat.slots, rounds, SECONDS, sample))
            file.write(flat.records.data)
        run(path, contestant, timeout)
        with path.open("rb") as done:
            result = read_job(done.read(JOB_BYTES))
    if result.done == 0:
        raise ReplayError(f"{contestant.name}: the replay ended before its first round did")
    return result


def run(job: Path, contestant: Contestant, timeout: float) -> None:
    libraries = [str(each) for each in (replayer_library(), contestant.library) if each is not None]
    environment = {**os.environ, "LD_PRELOAD": " ".join(libraries), "HEAPWRIGHT_REPLAY": str(job)}
    try:
        done = subprocess.run(
            [shutil.which("true") or "/bin/true"], env=environment, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ReplayError(f"{contestant.name}: the replay did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        how = f"by {Signals(-done.returncode).name}" if done.returncode < 0 else f"with status {done.returncode}"
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ReplayError(f"{contestant.name}: the replay ended {how}{': ' + said[-1] if said else ''}")
