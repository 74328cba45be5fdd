"""A machine that goes back to how it was, so that from one state much can be tried.

    checkpoint = Checkpoint(heap.process)
    heap.alloc(24)
    checkpoint.restore()                nothing of it has happened

Much less work than a fork, and nothing that runs in the machine can tell. The machine has one process and
one thread, then and now; planned failures and observers are left as they are.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from heapwright.machine.memory import ACCOUNT
from heapwright.machine.process import Process

KEPT_OF_FRAMES = "owners", "_free", "_untouched", "reserved", "peak"
KEPT_OF_TABLE = "root", "used", "_words"
KEPT_OF_SPACE = "brk", "segments", "broken"
KEPT_OF_PROCESS = "threads_ever", "records", "_bss"
KEPT_OF_THREAD = "words", "errno", "call"


class Checkpoint:
    """All that a process and its machine hold at one moment."""

    def __init__(self, process: Process):
        self.process, space, frames = process, process.space, process.kernel.frames
        self.parts: list[tuple[object, dict[str, Any]]] = [
            (frames, kept(frames, KEPT_OF_FRAMES)),
            (space.table, kept(space.table, KEPT_OF_TABLE)),
            (space, kept(space, KEPT_OF_SPACE)),
            (space.areas, vars(space.areas.copy())),
            (process, kept(process, KEPT_OF_PROCESS)),
            (process.thread, kept(process.thread, KEPT_OF_THREAD)),
            (process.memory, kept(process.memory, ACCOUNT)),
            (process.user, kept(process.user, ACCOUNT)),
        ]
        self.contents = [(frames.bytes_of(frame), bytes(frames.bytes_of(frame))) for frame in frames.owners]
        self.codes = {number: bytes(codes) for number, codes in space.shadow.pages.items()}
        self.blocks = process.blocks.copy()
        self.random = process.random.getstate()

    def restore(self) -> None:
        """Put everything back; this can be done any number of times."""
        for thing, values in self.parts:
            for name, value in values.items():
                setattr(thing, name, copy(value))
        for there, content in self.contents:
            there[:] = content
        self.process.space.shadow.pages = dict(self.codes)
        self.process.space.pages.clear()  # the translations, which hold what was in use
        vars(self.process.blocks).update(vars(self.blocks.copy()))
        self.process.random.setstate(self.random)


def kept(thing: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: copy(getattr(thing, name)) for name in names}
