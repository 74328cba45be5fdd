"""The debugger that `breakpoint()` opens inside an allocator: Python's pdb, which skips heapwright's own frames.

    draw     show the heap as it is now
    up       go to the caller: from the allocator straight to the program that called it
    step     go to the next line of the allocator or of the program

All other commands are pdb's. `heapwright simulate` uses this debugger. A script uses it if it is started with
PYTHONBREAKPOINT=heapwright.debugger.stop in its environment.
"""

from __future__ import annotations

import inspect
import sys
from pdb import Pdb
from types import FrameType, TracebackType
from typing import Any

from heapwright.api import draw
from heapwright.machine import Heap
from heapwright.machine.source import MACHINERY, files_in
from heapwright.programs import run

HIDDEN = MACHINERY | files_in("collections/*.py", "programs/user.py", "api.py", "programs/replay.py")
RUNNER = inspect.getfile(run)  # frames outside it belong to the command line
MODULES = ("heapwright.machine.*", "heapwright.layout", "heapwright.bits", "heapwright.collections.*", "heapwright.api",
           "heapwright.programs.user", "heapwright.programs.run")  # fmt: skip


class Debugger(Pdb):
    """A pdb that stops only in the allocator and in the program, and can draw their heap."""

    def __init__(self) -> None:
        super().__init__(skip=MODULES)
        self.prompt = "(heapwright) "
        self.is_asking = self.has_quit = False

    def set_quit(self) -> None:
        self.has_quit = True
        super().set_quit()

    def get_stack(self, frame: FrameType | None, traceback: TracebackType | None) -> tuple[list[Any], int]:
        """The frames that `up` and `where` show, and which of them is the current one."""
        stack, index = super().get_stack(frame, traceback)
        runs = [number for number, (each, _) in enumerate(stack[:index]) if each.f_code.co_filename == RUNNER]
        first = runs[-1] + 1 if runs else 0
        shown = [n for n in range(first, len(stack)) if n == index or stack[n][0].f_code.co_filename not in HIDDEN]
        return [stack[n] for n in shown], shown.index(index)

    def interaction(self, *given: Any) -> None:
        """Ask for commands. A `breakpoint()` reached by a command is ignored."""
        self.is_asking = True
        try:
            super().interaction(*given)
        finally:
            self.is_asking = False

    def do_draw(self, _: str) -> None:
        """draw

        Show the blocks of the heap in address order, and its free lists.
        """
        heap = heap_of(self.stack[-1][0])
        self.message(str(draw(heap)) if heap else "no heap is at work here")


def heap_of(frame: FrameType | None) -> Heap | None:
    """The heap on which a frame works: that of the innermost enclosing method of a heap; None if there is none."""
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Heap):
            return found
        frame = frame.f_back
    return None


DEBUGGER: list[Debugger] = []  # the only debugger, once it has been needed


def stop(*_: object, **__: object) -> None:
    """Stop at the line after `breakpoint()`, unless the user has quit the debugger."""
    stop_in(sys._getframe(1))


def stop_in(frame: FrameType) -> None:
    debugger = DEBUGGER[0] if DEBUGGER else Debugger()
    DEBUGGER[:] = [debugger]
    if not debugger.is_asking and not debugger.has_quit:
        debugger.set_trace(frame)
