"""A saved state of a machine, from which several continuations can be tried.

    >>> from heapwright import Checkpoint, start
    >>> heap = start("kr")
    >>> before = Checkpoint(heap.process)
    >>> address = heap.alloc(24)
    >>> before.restore()                # as if the call had not happened
    >>> heap.live
    {}

A checkpoint is much cheaper than a fork, and code in the machine cannot notice it. The machine must have one process
and one thread, both when it is saved and when it is restored. Planned failures and observers stay as they are.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from heapwright.machine.memory import ACCOUNT
from heapwright.machine.process import Process

KEPT_OF_FRAMES = "owners", "users", "_free", "_untouched", "reserved", "peak"
KEPT_OF_TABLE = "root", "used", "_words", "_leaves"
KEPT_OF_SPACE = "brk", "segments", "broken"
KEPT_OF_PROCESS = "threads_ever", "records", "clock", "_bss"
KEPT_OF_THREAD = "words", "errno", "call"


class Checkpoint:
    """The whole state of a process and its machine at one moment; `restore` returns to it.

    `heap.checkpoint()` makes one. Planned failures (`kernel.calls`) and observers stay as they are.
    """

    def __init__(self, process: Process):
        self.process, space, frames = process, process.space, process.kernel.frames
        self.parts: list[tuple[object, dict[str, Any]]] = [
            (frames, kept(frames, KEPT_OF_FRAMES)),
            (space.table, kept(space.table, KEPT_OF_TABLE)),
            (space, kept(space, KEPT_OF_SPACE)),
            (space.mappings, vars(space.mappings.copy())),
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
        """Return to the saved state, as often as you like."""
        for thing, values in self.parts:
            for name, value in values.items():
                setattr(thing, name, copy(value))
        for there, content in self.contents:
            there[:] = content
        self.process.space.shadow.pages = dict(self.codes)
        self.process.space.pages.clear()  # drop the translations: they refer to the old contents
        vars(self.process.blocks).update(vars(self.blocks.copy()))
        self.process.random.setstate(self.random)


def kept(thing: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: copy(getattr(thing, name)) for name in names}
