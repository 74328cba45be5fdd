"""Thread stacks among the anonymous mappings.

Source: glibc nptl/descr.h. A thread's control block lies at the end of its stack; its first and third words are its own
address, and among the next it says where the stack's mapping starts and how long it is. Stacks that glibc keeps for
later threads look the same, and are told by the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.extent import zeros
from heapwright.live.mappings import Mapping
from heapwright.live.pages import PAGE
from heapwright.live.source import Source

CONTROL_BLOCK = 0xA00  # bytes of struct pthread in which its stack is named
LARGEST = 1 << 34
LAST_PAGES = 64  # of a run of resident pages: control blocks and thread-local data lie there


class Stack(NamedTuple):
    start: int
    end: int


def stacks_in(source: Source, mappings: Iterable[Mapping]) -> list[Stack]:
    return [
        stack
        for mapping in mappings
        if mapping.size <= LARGEST and mapping.resident != 0
        for stack in stacks_of(source, mapping)
    ]


def stacks_of(source: Source, mapping: Mapping) -> Iterator[Stack]:
    """The stacks of a mapping: most mappings have one at most, so the pages are read from the last one on."""
    present = np.flatnonzero(source.pages(mapping.start, mapping.end).present)
    end = mapping.end
    for page in reversed(present.tolist()):
        place = mapping.start + page * PAGE
        if end - place > LAST_PAGES * PAGE:
            break
        stack = stack_named_in(source, place, mapping) if place < end else None
        if stack:
            yield stack
            end = stack.start


def stack_named_in(source: Source, place: int, mapping: Mapping) -> Stack | None:
    """The stack whose control block begins in a page."""
    words = words_of(source, place, min(place + 2 * PAGE, mapping.end))
    own = place + 8 * np.arange(len(words), dtype=np.uint64)
    blocks = np.flatnonzero((words[:-2] == own[:-2]) & (words[2:] == own[:-2]))
    for index in blocks.tolist():
        found = stack_named_by(words[index : index + CONTROL_BLOCK // 8].tolist(), place + 8 * index)
        if found:
            return Stack(max(found.start, mapping.start), min(found.end, mapping.end))
    return None


def stack_named_by(words: list[int], block: int) -> Stack | None:
    """The range that a control block lies in and names: a start and a size that are whole pages."""
    for start, size in zip(words, words[1:], strict=False):
        if start % PAGE == size % PAGE == 0 and 0 < start < block < start + size <= block + 16 * PAGE:
            return Stack(start, start + size)
    return None


def words_of(source: Source, start: int, end: int) -> Any:
    data = zeros(end - start)
    source.fill(data, start, source.pages(start, end).present)
    return data.view("<u8")
