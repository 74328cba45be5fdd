"""The processes of one run's jobs, so that an interrupt can end them all, whichever threads wait for them."""

from __future__ import annotations

import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from heapwright.lab.sample import RunError


class Crew:
    """Running processes. Once the crew is dismissed, it starts no others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._is_dismissed = False

    @contextmanager
    def started(self, call: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
        """A process that has ended when the context does. `call` has the arguments of Popen.

        Raises RunError if the crew is dismissed.
        """
        with self._lock:
            if self._is_dismissed:
                raise RunError("was interrupted")
            worker = subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self._workers.add(worker)
        try:
            yield worker
        finally:
            worker.kill()
            worker.wait()
            with self._lock:
                self._workers.discard(worker)

    def dismiss(self) -> None:
        """Kill all processes."""
        with self._lock:
            self._is_dismissed = True
            for each in self._workers:
                each.kill()


CREWS: defaultdict[str, Crew] = defaultdict(Crew)  # by the name of a run


def dismiss(run: str) -> None:
    """Kill the processes that a run has started from this one, and let it start no others."""
    CREWS[run].dismiss()
