"""The figures of an allocator whose blocks are not wanted: from its own records and counters alone."""

from __future__ import annotations

from collections.abc import Callable

from heapwright.live.jemalloc.tally import read_figures as of_jemalloc
from heapwright.live.memory import Image
from heapwright.live.mimalloc import read_figures as of_mimalloc
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics
from heapwright.live.tcmalloc import read_figures as of_tcmalloc

Reader = Callable[[Image, Module], Statistics | None]

READERS: dict[str, Reader] = {"jemalloc": of_jemalloc, "mimalloc": of_mimalloc, "tcmalloc": of_tcmalloc}
