"""The figures of an allocator whose blocks are not wanted: from its own records and counters alone.

A reader belongs to one process and is asked again and again while that process stands still. It returns None if it
finds nothing that it knows.
"""

from __future__ import annotations

from collections.abc import Callable

from heapwright.live.jemalloc.find import Found, find_tree
from heapwright.live.jemalloc.tally import figures_at
from heapwright.live.memory import Image
from heapwright.live.mimalloc import read_figures as read_mimalloc
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics
from heapwright.live.tcmalloc import read_figures as read_tcmalloc

Reader = Callable[[Image, Module], Statistics | None]


class JemallocReader:
    """The figures of jemalloc, whose tree is found once."""

    def __init__(self) -> None:
        self._tree: Found | None = None

    def __call__(self, image: Image, module: Module) -> Statistics | None:
        self._tree = self._tree or find_tree(image, module)
        return figures_at(image, self._tree) if self._tree else None


READERS: dict[str, Callable[[], Reader]] = {
    "jemalloc": JemallocReader,
    "mimalloc": lambda: read_mimalloc,
    "tcmalloc": lambda: read_tcmalloc,
}
