"""Pause a process: every thread is stopped for a moment, and runs on even if heapwright is killed.

Source: ptrace(2). PTRACE_SEIZE and PTRACE_INTERRUPT send no signal, and a tracer that dies lets its threads run on. The
same thread of ours must make all calls. New threads may start meanwhile, so the list is read again until it is stable.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from heapwright.live.errors import InspectError
from heapwright.live.process import Process
from heapwright.live.registers import FORM, registers_in
from heapwright.live.source import Registers

SEIZE, INTERRUPT, DETACH, GET_REGISTERS = 0x4206, 0x4207, 17, 12
ALL_THREADS = 0x40000000  # __WALL
EVENT_STOP = 128
SIGTRAP = 5
ROUNDS = 100
PATIENCE, SHORT = 5.0, 0.0005  # seconds to wait for a thread, and between two questions

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Pauses:
    """Pauses of one process: how many, and the longest and all together, in seconds."""

    def __init__(self, process: Process, wanted: bool = True):
        self.process = process
        self.obstacle = obstacle_to(process) if wanted else ""
        self.is_possible = wanted and not self.obstacle
        self.is_held = False
        self.count, self.longest, self.total = 0, 0.0, 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold all threads inside this block; where that is not wanted or allowed, they run."""
        if not self.is_possible or self.is_held:
            yield
            return
        self.is_held = True
        stopped: dict[int, int] = {}
        began = time.monotonic()
        try:
            stop_all(self.process, stopped)
            self.process.registers = {thread: registers_of(thread) for thread in stopped}
            yield
        finally:
            self.is_held = False
            for thread, signal in stopped.items():
                if not call(DETACH, thread, signal) and thread != self.process.pid:
                    reap(thread)
            self._note(time.monotonic() - began)

    def _note(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)


def obstacle_to(process: Process) -> str:
    """Why this process cannot be paused, in a sentence; "" if it can."""
    if process.pid == os.getpid():
        return "it is the process that inspects, so it was not paused"
    tracer = process.tracer()
    return f"process {tracer} traces it already, so it was not paused" if tracer else ""


def waited(thread: int) -> int | None:
    """A thread's wait status; None if it has ended. Raises InspectError if it stays within the kernel."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            found, status = os.waitpid(thread, ALL_THREADS | os.WNOHANG)
        except ChildProcessError:
            return None
        if found:
            return status
        time.sleep(SHORT)
    raise InspectError(f"thread {thread} does not stop: it waits within the kernel; use --no-pause")


def stop_all(process: Process, stopped: dict[int, int]) -> None:
    """Stop every thread; `stopped` gets them, with the signal that each is to get when it runs on."""
    for _ in range(ROUNDS):
        fresh = [thread for thread in process.threads() if thread not in stopped]
        if not fresh:
            return
        try:
            seized = [thread for thread in fresh if call(SEIZE, thread, 0)]
        except OSError as error:
            raise process.refused(error) from error
        interrupted = [thread for thread in seized if call(INTERRUPT, thread, 0)]
        for thread in interrupted:
            signal = stop_of(thread)
            if signal is not None:
                stopped[thread] = signal


def reap(thread: int) -> None:
    """Wait for a thread that was killed while it was paused: its process cannot end before."""
    with suppress(ChildProcessError):
        os.waitpid(thread, ALL_THREADS)


def call(request: int, thread: int, data: int, address: int = 0) -> bool:
    """One ptrace call; false if the thread has ended. Raises OSError if it is refused."""
    if libc.ptrace(request, thread, address, data) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ESRCH, 0) or request == DETACH:
        return False
    raise OSError(number, os.strerror(number))


def registers_of(thread: int) -> Registers:
    """The registers of a paused thread; none if it has ended."""
    buffer = ctypes.create_string_buffer(FORM.size)
    return registers_in(buffer.raw) if call(GET_REGISTERS, thread, ctypes.addressof(buffer)) else ()


def stop_of(thread: int) -> int | None:
    """Wait until a thread is stopped. Returns the signal that it was about to get, 0 for none; None if it has ended."""
    status = waited(thread)
    if status is None or not os.WIFSTOPPED(status):
        return None
    return 0 if status >> 16 == EVENT_STOP or os.WSTOPSIG(status) == SIGTRAP else os.WSTOPSIG(status)
