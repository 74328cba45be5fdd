"""A trace as a program: its events, in their recorded order, as checked calls of one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from heapwright.collections import OutOfMemory, Runtime, running
from heapwright.programs.user import Args, Main, exit, println
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, FAILED, NONE, REALLOC, THREAD_EXIT, Events

MIN_ALIGN = 16  # of malloc's blocks
CHECKS = 100  # checks of the whole heap over a whole trace


def replay(events: Events, progress: Callable[[int, int], None] = lambda done, all: None) -> Main:
    """A `main` that makes the calls of a trace; its exit code is 1 if memory runs out."""

    def main(_: Args) -> NoReturn:
        player = Player(running())
        rows = zip(events.op, events.flags, events.log2_align, events.block, events.size, strict=True)
        every = max(1, len(events) // CHECKS)
        for number, row in enumerate(rows, 1):
            try:
                player.play(*map(int, row))
            except OutOfMemory as error:
                println(f"event {number}: {error}")
                exit(1)
            if number % every == 0:
                player.runtime.heap.check()
                progress(number, len(events))
        exit(0)  # blocks that the trace leaves live are not leaks of this program

    return main


class Player:
    """The player of a trace: it knows where each block of the trace lies in the heap."""

    def __init__(self, runtime: Runtime):
        self.runtime = runtime
        self.addresses: dict[int, int] = {}

    def play(self, op: int, flags: int, log2_align: int, block: int, size: int) -> None:
        if flags & FAILED or op == THREAD_EXIT or block == NONE:
            return
        if op == DEALLOC:
            self.runtime.dealloc(self.addresses.pop(block))
        elif op == REALLOC and block in self.addresses:
            self.addresses[block] = self.runtime.realloc(self.addresses[block], size)
        else:
            align = max(MIN_ALIGN, 1 << log2_align)
            self.addresses[block] = self.runtime.alloc(size, align, "", zeroed=op == ALLOC_ZEROED)
