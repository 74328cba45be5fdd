"""Borrow a thread of a running process: stop it at a safe place, have it call functions, and let it go on as before.

Only this thread is stopped; the others run on, so a lock that one of them holds becomes free. The place is safe if the
thread holds no lock of malloc or of the dynamic linker: its code is not theirs, it is in no signal handler, and if it
waits in the kernel, then not for one of their locks. A thread that is elsewhere is let go and looked at again later.

Source: ptrace(2). PTRACE_SEIZE and PTRACE_INTERRUPT send no signal; a system call that they interrupt starts again.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from heapwright.live.errors import InspectError
from heapwright.live.pause import ALL_THREADS, DETACH, GET_REGISTERS, INTERRUPT, SEIZE, call, obstacle_to
from heapwright.live.process import Process
from heapwright.live.registers import FORM, RED_ZONE, STACK
from heapwright.live.safety import SYSTEM_CALL, Places, is_safe

SET_REGISTERS, CONTINUE = 13, 7
GET_SET, PUT_SET, EXTENDED = 0x4204, 0x4205, 0x202  # of registers; NT_X86_XSTATE
GET_MASK, PUT_MASK, MASK_BYTES = 0x420A, 0x420B, 8
EXTENDED_BYTES = 1 << 14
PATIENCE, LONGEST = 10.0, 30.0  # seconds to wait for a safe place, and for a function to return
BREATH, SHORT = 0.002, 0.0002  # seconds between two tries, and between two questions
STOPPING = 0.05  # for a thread to stop
ANSWER, PROGRAM, ARGUMENTS = 10, 16, (14, 13, 12, 11, 9, 8)  # places of registers: rax, rip, rdi rsi rdx rcx r8 r9
SEGMENTATION_FAULT = 11
RETURN = 0  # where a called function returns to: nothing is mapped there, so the thread stops


class Span(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Borrowed:
    """A thread that is stopped at a safe place."""

    def __init__(self, process: Process, thread: int, registers: tuple[int, ...]):
        self.process, self.thread, self.registers = process, thread, registers
        self.stack = 0  # the top of a stack to call functions on; 0: the thread's own
        self._extended = ctypes.create_string_buffer(EXTENDED_BYTES)
        self._mask = ctypes.create_string_buffer(MASK_BYTES)
        self._size = self._transfer(GET_SET, EXTENDED_BYTES)
        request(GET_MASK, thread, MASK_BYTES, ctypes.addressof(self._mask))
        everything = ctypes.create_string_buffer(b"\xff" * MASK_BYTES, MASK_BYTES)
        request(PUT_MASK, thread, MASK_BYTES, ctypes.addressof(everything))

    def call(self, function: int, *arguments: int) -> int:
        """Have the thread call a function. Returns its result, as a word."""
        top = (self.stack or self.registers[STACK] - RED_ZONE) & -16
        self.process.write(top - 8, bytes(8))
        registers = list(self.registers)
        for place, value in zip(ARGUMENTS, arguments, strict=False):
            registers[place] = value & (1 << 64) - 1
        registers[PROGRAM], registers[STACK] = function, top - 8
        registers[ANSWER], registers[SYSTEM_CALL] = 0, (1 << 64) - 1  # no system call to start again
        put_registers(self.thread, tuple(registers))
        request(CONTINUE, self.thread, 0, 0)
        self._wait_for_return()
        return registers_now(self.thread)[ANSWER]

    def _wait_for_return(self) -> None:
        """Wait until the function has returned. All signals but a fault's are blocked meanwhile."""
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            found, status = os.waitpid(self.thread, ALL_THREADS | os.WNOHANG)
            if not found:
                time.sleep(SHORT)
            elif not os.WIFSTOPPED(status):
                raise self.process.ended()
            elif os.WSTOPSIG(status) != SEGMENTATION_FAULT:
                request(CONTINUE, self.thread, 0, 0)
            elif registers_now(self.thread)[PROGRAM] == RETURN:
                return
            else:
                raise self._failure("failed")
        call(INTERRUPT, self.thread, 0)
        stop_soon(self.thread)
        raise self._failure("waited too long")

    def _failure(self, what: str) -> InspectError:
        return InspectError(f"process {self.process.pid} ({self.process.name}) {what} when it loaded the recorder")

    def give_back(self) -> None:
        """Have the thread's registers and signal mask as they were."""
        put_registers(self.thread, self.registers)
        self._transfer(PUT_SET, self._size)
        request(PUT_MASK, self.thread, MASK_BYTES, ctypes.addressof(self._mask))

    def _transfer(self, what: int, size: int) -> int:
        """Read or write the registers of floating-point numbers and vectors. Returns their size."""
        span = Span(ctypes.addressof(self._extended), size)
        request(what, self.thread, EXTENDED, ctypes.addressof(span))
        return int(span.size)


def request(what: int, thread: int, address: int, data: int) -> None:
    """A ptrace call. Raises OSError if it is refused."""
    call(what, thread, data, address)


def registers_now(thread: int) -> tuple[int, ...]:
    buffer = ctypes.create_string_buffer(FORM.size)
    request(GET_REGISTERS, thread, 0, ctypes.addressof(buffer))
    return FORM.unpack(buffer.raw)


def put_registers(thread: int, registers: tuple[int, ...]) -> None:
    buffer = ctypes.create_string_buffer(FORM.pack(*registers), FORM.size)
    request(SET_REGISTERS, thread, 0, ctypes.addressof(buffer))


@contextmanager
def borrowed(process: Process) -> Iterator[Borrowed]:
    """A thread of the process, stopped at a safe place. Raises InspectError if there is none."""
    obstacle = obstacle_to(process)
    if obstacle:
        raise InspectError(f"process {process.pid} ({process.name}) cannot be stopped: {obstacle}")
    places = Places(process)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        process.remap()
        for thread in process.threads():
            with stopped(process, thread) as registers:
                if registers and is_safe(process, places, registers):
                    borrowed_one = Borrowed(process, thread, registers)
                    try:
                        yield borrowed_one
                    finally:
                        borrowed_one.give_back()
                    return
        time.sleep(BREATH)
    raise InspectError(
        f"process {process.pid} ({process.name}) cannot load the recorder: for {PATIENCE:.0f} seconds, no thread was "
        "where that is safe; try again, or start the program with `heapwright record --control`"
    )


@contextmanager
def stopped(process: Process, thread: int) -> Iterator[tuple[int, ...]]:
    """The registers of a thread that is stopped inside the context; none if it has ended or does not stop."""
    try:
        is_seized = call(SEIZE, thread, 0)
    except OSError as error:
        raise process.refused(error) from error
    signal = stop_soon(thread) if is_seized and call(INTERRUPT, thread, 0) else None
    if signal is None:
        yield ()
        return
    try:
        yield registers_now(thread)
    finally:
        call(DETACH, thread, signal)


def stop_soon(thread: int) -> int | None:
    """Wait a moment until a thread is stopped. Returns the signal that it was about to get; None if it does not stop.

    A thread that waits in the kernel for a disk does not. It stays seized, which changes nothing, until we end.
    """
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline:
        try:
            found, status = os.waitpid(thread, ALL_THREADS | os.WNOHANG)
        except ChildProcessError:
            return None
        if found:
            return signal_of(status)
        time.sleep(SHORT)
    return None


def signal_of(status: int) -> int | None:
    if not os.WIFSTOPPED(status):
        return None
    return 0 if status >> 16 or os.WSTOPSIG(status) == 5 else os.WSTOPSIG(status)
