"""Requests to a submission: those of a trace, and how they read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from heapwright.lab.requests import replayed
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, NONE, REALLOC, THREAD_EXIT, Events

NO_BLOCK = (1 << 32) - 1  # the block of free(NULL)
SERVED, REFUSED, EITHER = "served", "refused", "either"
NAMES = {ALLOC: "malloc", ALLOC_ZEROED: "calloc", REALLOC: "realloc", DEALLOC: "free"}


class Request(NamedTuple):
    """One call: a block has a number, and `expects` says whether it must be served."""

    op: int
    block: int
    size: int = 0
    log2_align: int = 0
    expects: str = SERVED

    def __str__(self) -> str:
        block = "NULL" if self.block == NO_BLOCK else f"block {self.block}"
        if self.op == DEALLOC:
            return f"free({block})"
        if self.op == REALLOC:
            return f"realloc({block}, {self.size:,})"
        if self.log2_align:
            return f"memalign({1 << self.log2_align:,}, {self.size:,})"
        return f"calloc(1, {self.size:,})" if self.op == ALLOC_ZEROED else f"malloc({self.size:,})"


def malloc(block: int, size: int, expects: str = SERVED) -> Request:
    return Request(ALLOC, block, size, expects=expects)


def calloc(block: int, size: int) -> Request:
    return Request(ALLOC_ZEROED, block, size)


def memalign(block: int, log2_align: int, size: int) -> Request:
    return Request(ALLOC, block, size, log2_align)


def realloc(block: int, size: int, expects: str = SERVED) -> Request:
    return Request(REALLOC, block, size, expects=expects)


def free(block: int) -> Request:
    return Request(DEALLOC, block)


def of_events(events: Events) -> list[Request]:
    """The requests of a process, in their recorded order. What failed when it was recorded is left out."""
    chosen = events[replayed(events)]
    columns = (chosen.op, chosen.block, chosen.size, chosen.log2_align)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [of_row(*row) for row in rows if row[0] != THREAD_EXIT]


def of_row(op: int, block: int, size: int, log2_align: int) -> Request:
    """A realloc to 0 bytes differs from malloc to malloc: it is graded as one to 1 byte."""
    named = NO_BLOCK if block == NONE else block
    return Request(op, named, max(size, 1) if op == REALLOC else size, log2_align, SERVED if size else EITHER)


def peak_payload(requests: Iterable[Request]) -> int:
    """The most requested bytes that are live at one time."""
    sizes: dict[int, int] = {}
    live = peak = 0
    for request in requests:
        live -= sizes.pop(request.block, 0)
        if request.op != DEALLOC and request.expects != REFUSED:
            sizes[request.block] = request.size
            live += request.size
        peak = max(peak, live)
    return peak


def blocks_of(requests: Sequence[Request]) -> int:
    """The number of blocks that the requests name."""
    return 1 + max((request.block for request in requests if request.block != NO_BLOCK), default=0)
