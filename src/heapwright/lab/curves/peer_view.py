"""An installed peer: what its own records and counters say, read from outside while the process waits."""

from __future__ import annotations

from typing import Any

from heapwright.lab.curves.parts import Told
from heapwright.live.counters import READERS
from heapwright.live.errors import Unreadable
from heapwright.live.memory import Image
from heapwright.live.process import Process
from heapwright.live.recognised import recognise
from heapwright.live.statistics import Statistics


class PeerView:
    """The counters of jemalloc, mimalloc or tcmalloc."""

    def __init__(self, name: str, path: str):
        self._read, self._path = READERS[name](), path
        self.source = f"{name}'s own counters"
        self._told: list[Told | None] = []

    @classmethod
    def found(cls, image: Image) -> PeerView | None:
        """The view of the peer that a process has, if its counters can be read."""
        known = [(name, module) for name, module in recognise(image) if name in READERS]
        return cls(known[0][0], known[0][1].path) if known else None

    def begin(self, process: Process, job: Any) -> None:
        """Its counters are looked for at each sample."""

    def look(self, process: Process, job: Any) -> None:
        image = Image(process)
        module = next(each for each in process.modules() if each.path == self._path)
        try:
            self._told.append(told_of(self._read(image, module)))
        except Unreadable:
            self._told.append(None)

    def told(self, number: int, sample: Any) -> Told | None:
        return self._told[number]


def told_of(figures: Statistics | None) -> Told | None:
    """The parts according to the counters. Address space that was released to the kernel is not held."""
    if figures is None or figures.mapped_bytes is None:
        return None
    held = figures.mapped_bytes - (figures.released_bytes or 0)
    return Told(held, figures.cached_bytes, figures.kept_bytes, figures.free_bytes, figures.own_bytes)
