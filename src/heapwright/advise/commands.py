"""A candidate measured under the program itself: time, and resident memory over time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heapwright.advise.candidates import Candidate, Today
from heapwright.advise.figures import Point, Run
from heapwright.lab.programs import C_LIBRARY, LAUNCHER
from heapwright.lab.sample import RunError, ending, too_long
from heapwright.preload import preloaded

EVERY = 0.01  # seconds between samples
IDLE = 0.3  # seconds of a period in which the program does nothing
CURVE = 400  # points that a run keeps
SMALL_LAUNCHER = 16 << 20  # a peak below may be the launcher's own


@dataclass(frozen=True)
class Program:
    """The user's command, how to drive it if it is a server, and what runs today."""

    command: tuple[str, ...]
    today: Today = field(default_factory=Today)
    load: str = ""  # a shell command that uses the program; after it the program is ended
    settle: float = 2.0  # seconds to wait after the load
    timeout: float = 600.0

    def measure(self, candidate: Candidate) -> Run:
        """Run the program once. Raises RunError if it fails."""
        with tempfile.TemporaryDirectory(prefix="heapwright-") as outputs:
            with environment(candidate) as variables:
                answer = self._launch(variables, outputs)
            status = answer["status"]
            if status == -signal.SIGALRM:
                raise RunError(too_long(self.timeout))
            if status != 0 and not (self.load and status == -signal.SIGTERM):
                raise RunError(ending(status, Path(outputs, "errors").read_bytes()))
        return run_of(answer)

    def _launch(self, variables: Mapping[str, str], outputs: str) -> dict[str, Any]:
        request = {
            "command": self.command,
            "client": self.load,
            "settle": self.settle,
            "folder": os.getcwd(),
            "outputs": outputs,
            "environment": {**os.environ, **variables},
            "timeout": int(self.timeout),
            "every": EVERY,
        }
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
        done = subprocess.run(launcher, input=json.dumps(request), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RunError(ending(done.returncode, done.stderr.encode()))
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@contextmanager
def environment(candidate: Candidate) -> Iterator[dict[str, str]]:
    """The variables that put a candidate under a program. Today's malloc needs none."""
    variables = dict(candidate.environment)
    with ExitStack() as stack:
        library = candidate.contestant.library if candidate.contestant else None
        if candidate.is_preloaded:
            value = stack.enter_context(preloaded(library)) if library else C_LIBRARY
            variables["LD_PRELOAD"] = " ".join(filter(None, (value, os.environ.get("LD_PRELOAD"))))
        yield variables


# --- from samples to figures


def run_of(answer: Mapping[str, Any]) -> Run:
    """The figures of one run of the launcher."""
    samples: Sequence[Sequence[float]] = answer["samples"]
    curve = [Point(seconds, int(resident)) for seconds, resident, _ in samples]
    idle = last_idle(samples)
    served, whole = answer["served_seconds"], answer["seconds"]
    values = {"time": float(served if served is not None else whole), "cpu": float(answer["cpu_seconds"])}
    values["peak"] = float(peak_of(curve, int(answer["resident_bytes"])))
    if idle:
        values["retained"] = float(idle.resident)
    return Run(values, tuple(thinned(curve)))


def peak_of(curve: Sequence[Point], largest: int) -> int:
    """The peak of all processes together, or the kernel's figure for the largest one, which misses no moment."""
    sampled = max((point.resident for point in curve), default=0)
    return max(sampled, largest if largest > SMALL_LAUNCHER else 0)


def last_idle(samples: Sequence[Sequence[float]]) -> Point | None:
    """The end of the last period of IDLE seconds in which no thread ran; a single sample of a running one is ignored.

    Memory that is resident then is retained: the program has had time to give it back.
    """
    end = None
    for place in range(len(samples) - 1, -1, -1):
        seconds, resident, is_busy = samples[place]
        if is_busy and (place == 0 or samples[place - 1][2] or end is None):
            end = None
        elif end is None:
            end = Point(seconds, int(resident))
        if end is not None and end.seconds - seconds >= IDLE:
            return end
    return None


def thinned(curve: Sequence[Point]) -> list[Point]:
    """At most CURVE points: the highest one of each part."""
    step = -(-len(curve) // CURVE) or 1
    return [max(curve[first : first + step], key=lambda point: point.resident) for first in range(0, len(curve), step)]
