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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heapwright.live.errors import InspectError
from heapwright.live.frame import CALL_BYTES, EXTENDED_FACTS, NO_CALL, restarting, signal_frame
from heapwright.live.pause import ALL_THREADS, DETACH, GET_REGISTERS, INTERRUPT, SEIZE, call, obstacle_to
from heapwright.live.process import Process
from heapwright.live.registers import FORM
from heapwright.live.safety import SYSTEM_CALL, Places, is_safe

SET_REGISTERS, TO_NEXT_CALL = 13, 24  # PTRACE_SYSCALL stops at the entry and at the exit of each system call
GET_SET, PUT_SET, EXTENDED = 0x4204, 0x4205, 0x202  # of registers; NT_X86_XSTATE
GET_MASK, PUT_MASK, MASK_BYTES = 0x420A, 0x420B, 8
EXTENDED_BYTES = 1 << 14
PATIENCE, LONGEST = 10.0, 30.0  # seconds to wait for a safe place, and for a function to return
BREATH, SHORT = 0.002, 0.0002  # seconds between two tries, and between two questions
STOPPING, STOPPING_WITHIN = 5.0, 0.05  # for a thread to stop; for one that waits within the kernel, as for a disk
ANSWER, PROGRAM, STACK, BASE = 10, 16, 19, 21  # places of registers: rax, rip, rsp, fs_base
TO_FUNCTIONS, TO_KERNEL = (14, 13, 12, 11, 9, 8), (14, 13, 12, 7, 9, 8)  # of arguments: rdi rsi rdx rcx (r10) r8 r9
SEGMENTATION_FAULT = 11
RETURN, MAP, UNMAP = 15, 9, 11  # system calls: rt_sigreturn, mmap, munmap
READ_WRITE, PRIVATE_ANONYMOUS = 3, 0x22
STACK_BYTES = 1 << 18
INTO_CALL = 7  # bytes from the way back to its system call


class Span(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Borrowed:
    """A thread that is stopped at a safe place.

    Functions run on a stack of their own, because a coroutine's may be small. They return to the C library's way back
    from a signal handler, with the frame that this expects. There the thread stops for us. If we are killed, it goes on
    as before.
    """

    def __init__(self, process: Process, thread: int, registers: tuple[int, ...], way_back: int):
        self.process, self.thread, self.registers, self.way_back = process, thread, registers, way_back
        self._extended = ctypes.create_string_buffer(EXTENDED_BYTES)
        self._mask = ctypes.create_string_buffer(MASK_BYTES)
        self._size = self._transfer(GET_SET, EXTENDED_BYTES)
        request(GET_MASK, thread, MASK_BYTES, ctypes.addressof(self._mask))
        self.room = self._ask_kernel(MAP, 0, STACK_BYTES, READ_WRITE, PRIVATE_ANONYMOUS, NO_CALL, 0)
        if self.room >> 63:
            self.give_back()
            raise self._failure("has no memory")
        frame_bytes = self._size + 2 * EXTENDED_FACTS
        self._frame = (self.room + STACK_BYTES - frame_bytes) & -64
        frame = signal_frame(registers, self._extended.raw[: self._size], self._mask.raw, self._frame)
        self.process.write(self._frame - 8, way_back.to_bytes(8, "little") + frame)

    def call(self, function: int, *arguments: int) -> None:
        """Have the thread call a function, with all signals but a fault's blocked. Its result gets lost."""
        self._go_to(function, self._frame - 8, TO_FUNCTIONS, arguments)
        everything = ctypes.create_string_buffer(b"\xff" * MASK_BYTES, MASK_BYTES)
        request(PUT_MASK, self.thread, MASK_BYTES, ctypes.addressof(everything))
        end = self.way_back + INTO_CALL + CALL_BYTES
        self._run_until(lambda now: now[SYSTEM_CALL] == RETURN and now[PROGRAM] == end)

    def _ask_kernel(self, number: int, *arguments: int) -> int:
        """Have the thread make a system call, by the instruction on the way back. Returns its result."""
        place = self.way_back + INTO_CALL
        self._go_to(place, self.registers[STACK], TO_KERNEL, arguments, number)
        for _ in range(2):  # at its entry, and at its exit
            self._run_until(lambda now: now[PROGRAM] == place + CALL_BYTES)
        return registers_now(self.thread)[ANSWER]

    def _go_to(
        self, place: int, stack: int, order: tuple[int, ...], arguments: tuple[int, ...], answer: int = 0
    ) -> None:
        """Set the registers for code at `place`."""
        registers = list(self.registers)
        for name, value in zip(order, arguments, strict=False):
            registers[name] = value
        registers[PROGRAM], registers[STACK], registers[ANSWER], registers[SYSTEM_CALL] = place, stack, answer, NO_CALL
        put_registers(self.thread, tuple(registers))

    def _run_until(self, is_there: Callable[[tuple[int, ...]], bool]) -> None:
        """Let the thread run until it stops at the entry or exit of a system call with such registers."""
        deadline = time.monotonic() + LONGEST
        request(TO_NEXT_CALL, self.thread, 0, 0)
        while time.monotonic() < deadline:
            found, status = os.waitpid(self.thread, ALL_THREADS | os.WNOHANG)
            if not found:
                time.sleep(SHORT)
            elif not os.WIFSTOPPED(status):
                raise self.process.ended()
            elif os.WSTOPSIG(status) == SEGMENTATION_FAULT:
                raise self._failure("failed")
            elif is_there(registers_now(self.thread)):
                return
            else:
                request(TO_NEXT_CALL, self.thread, 0, 0)
        call(INTERRUPT, self.thread, 0)
        stop_soon(self.thread)
        raise self._failure("waited too long")

    def _failure(self, what: str) -> InspectError:
        return InspectError(f"process {self.process.pid} ({self.process.name}) {what} when it loaded the recorder")

    def leave(self) -> None:
        """Give the stack back, and then the thread."""
        self._ask_kernel(UNMAP, self.room, STACK_BYTES)
        self.give_back()

    def give_back(self) -> None:
        """Have the thread's registers and signal mask as they were. An interrupted system call starts again."""
        put_registers(self.thread, restarting(self.registers, continues=True))
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
                    found = Borrowed(process, thread, registers, places.handler_return)
                    try:
                        yield found
                    finally:
                        found.leave()
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
        is_seized = process.tracer_of(thread) == os.getpid() or call(SEIZE, thread, 0)
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
    """Wait until a thread is stopped. Returns the signal that it was about to get; None if it does not stop.

    A thread that waits within the kernel stays seized, which changes nothing, and is stopped later or when we end.
    """
    began = time.monotonic()
    while time.monotonic() < began + (STOPPING_WITHIN if is_within_kernel(thread) else STOPPING):
        try:
            found, status = os.waitpid(thread, ALL_THREADS | os.WNOHANG)
        except ChildProcessError:
            return None
        if found:
            return signal_of(status)
        time.sleep(SHORT)
    return None


def is_within_kernel(thread: int) -> bool:
    """Whether a thread waits where nothing interrupts it."""
    try:
        return Path(f"/proc/{thread}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"D"
    except OSError:
        return False


def signal_of(status: int) -> int | None:
    if not os.WIFSTOPPED(status):
        return None
    return 0 if status >> 16 or os.WSTOPSIG(status) == 5 else os.WSTOPSIG(status)
