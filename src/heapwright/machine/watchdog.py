"""A watchdog for loops without loads and stores, which the budget of accesses cannot end.

A thread checks from time to time whether the running call of an allocator has made an access. After 2 s of processor
time without one, it makes the main thread trace itself. Only the trace decides: it ends the call after many more
instructions without an access, and stops when the call makes one or returns. A sound allocator therefore pays nothing,
and one that computes for long is only slowed down. Loops of the user's program are ignored.

The watchdog can end calls of the main thread only. It does not disturb a thread that a debugger traces.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from heapwright.machine.fault import NOWHERE, Fault, Kind
from heapwright.machine.source import MACHINERY, Place, frames_in_call

if TYPE_CHECKING:
    from heapwright.machine.process import Process

SECONDS, AGAIN = 2.0, 0.1  # seconds of processor time without an access: at first, and after one loop was found
LOOKS = 8  # checks in that time
INSTRUCTIONS = 100_000  # bytecode instructions without an access before the trace ends the call


class AtWork:
    """The process whose allocator was called last."""

    def __init__(self) -> None:
        self.process: weakref.ref[Process] | None = None

    def call(self) -> tuple[Process, Any] | None:
        """That process and its running call, if there is one."""
        process = self.process() if self.process else None
        return (process, process.thread.call) if process and process.thread.call else None


AT_WORK = AtWork()


class Standstill:
    """A call and its remaining budget: if both are the same later, the call has made no access."""

    def __init__(self, process: Process, call: Any):
        self.process, self.call, self.left = process, call, process.memory.left

    @classmethod
    def now(cls) -> Standstill | None:
        running = AT_WORK.call()
        return cls(*running) if running else None

    def lasts(self) -> bool:
        return self.process.thread.call is self.call and self.process.memory.left == self.left


class Watchdog:
    """Watches the running call; there is one for all heaps."""

    def __init__(self) -> None:
        self.seconds = SECONDS
        self._thread: Thread | None = None
        self._found: Standstill | None = None
        self._wake: Any = None  # `_trace` as a C function
        os.register_at_fork(after_in_child=self._forget)

    def start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._look_on, name="heapwright watchdog", daemon=True)
            self._thread.start()

    def _forget(self) -> None:
        """Forget the thread: a forked child has none of its parent's."""
        self._thread = None

    def _look_on(self) -> None:
        since, still = 0.0, None
        while True:
            time.sleep(self.seconds / LOOKS)
            if still is None or not still.lasts():
                since, still = time.process_time(), Standstill.now()
            elif time.process_time() - since > self.seconds:
                since = time.process_time()
                self._ask_for_a_trace(still)

    def _ask_for_a_trace(self, still: Standstill) -> None:
        """Make the main thread call `_trace` between two of its instructions."""
        import ctypes

        if self._wake is None:
            self._wake = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._trace)
        self._found = still
        ctypes.pythonapi.Py_AddPendingCall(self._wake, None)

    def _trace(self, _: object) -> int:
        still = self._found
        if still is not None and still.lasts() and sys.gettrace() is None:
            Trace(still, self).begin(sys._getframe(1))
        return 0


class Trace:
    """Counts instructions during a standstill, in the frames that existed when it began, and notes their lines."""

    def __init__(self, still: Standstill, watchdog: Watchdog):
        self.still, self.watchdog, self.count = still, watchdog, 0
        self.frames: list[FrameType] = []  # the outermost last
        self.lines: dict[FrameType, set[int]] = {}

    def begin(self, frame: FrameType) -> None:
        self.frames = list(frames_in_call(frame))
        for each in self.frames:
            each.f_trace, each.f_trace_opcodes = self, True  # a loop of one instruction has no new lines
            self.lines[each] = set()
        sys.settrace(self)

    def end(self) -> None:
        sys.settrace(None)
        for each in self.frames:
            each.f_trace, each.f_trace_opcodes = None, False

    def __call__(self, frame: FrameType, event: str, argument: object) -> Trace | None:
        if not self.still.lasts():
            self.end()
            return None
        if event == "opcode":
            self.count += 1
            self.lines[frame].add(frame.f_lineno)
        if self.count > INSTRUCTIONS:
            self.end()
            raise self.fault()
        return self

    def fault(self) -> Fault:
        """A fault with the lines of the loop: those of the outermost frame that ran any."""
        looping = [each for each in self.frames if self.lines[each] and each.f_code.co_filename not in MACHINERY]
        what, place = f"no load or store for {self.watchdog.seconds:g} s", None
        self.watchdog.seconds = AGAIN
        if looping:
            first, last = min(self.lines[looping[-1]]), max(self.lines[looping[-1]])
            what += f": lines {first} to {last} do not end" if first < last else f": line {first} does not end"
            place = Place(looping[-1].f_code.co_filename, first, looping[-1].f_code.co_name)
        return Fault(Kind.ENDLESS, what, self.still.process, NOWHERE, who="allocator", place=place)


WATCHDOG = Watchdog()
