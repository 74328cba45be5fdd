"""The grader's end of one graded process: it sends requests, and looks at the process from outside."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heapwright.grade.output import last_lines
from heapwright.grade.requests import Request
from heapwright.grade.sandbox import MIB, Sandbox, SandboxError
from heapwright.grade.submission import SYSTEM, Subject
from heapwright.traces.arrays import I64, np

PAGE = 4096
REGION_START = 0x200000000000  # as in driver.h
REQUEST = np.dtype([("op", "u1"), ("log2_align", "u1"), ("unused", "u2"), ("block", "<u4"), ("size", "<u8")])
CONTROL_BYTES = 64  # before the requests
WORD = struct.Struct("<Q")
CREDENTIALS = struct.Struct("3i")
NOT_READY = {
    1: "its library cannot be loaded",
    2: "it lacks a function: it must define mm_init, mm_malloc, mm_free and mm_realloc",
    3: "mm_init failed: it did not return 0",
}
PATIENCE = 30  # times the limit of one answer is the limit of all
START_SECONDS = 120
OWN_MIB = 160  # of address space beside the region
OWN_KIB = 64  # of private memory that any library may have for its data; more counts as heap


class Ended(Exception):
    """The graded process ended. The text says how."""

    rule = "alive"


class Silent(Ended):
    """The graded process does not answer in time."""

    rule = "prompt"


@dataclass(frozen=True)
class Setting:
    """How a graded process is started."""

    driver: Path
    log: Path
    region_bytes: int
    blocks: int
    batch: int = 1  # the most requests at a time
    seconds: float = 10  # that the process may take for one answer
    populated: tuple[int, int] = (0, 0)  # bytes at the start and the end of the region that are resident from the start
    is_stamped: bool = False


class Player:
    """A graded process, from its start to its end: a context manager."""

    def __init__(self, subject: Subject, setting: Setting):
        self.setting, self.seconds_left = setting, PATIENCE * setting.seconds
        self.heap_file = sealed("heap", setting.region_bytes)
        control_bytes = CONTROL_BYTES + setting.batch * (REQUEST.itemsize + WORD.size)
        self.control_file = sealed("control", control_bytes)
        self.heap = mmap.mmap(self.heap_file, setting.region_bytes)
        self.control = mmap.mmap(self.control_file, control_bytes)
        self.results_at = CONTROL_BYTES + setting.batch * REQUEST.itemsize
        self.handle: int | None = None  # of the driver's process, which no other process can get
        self.process, self.socket = self.started(subject)

    def started(self, subject: Subject) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        files = (theirs.fileno(), self.heap_file, self.control_file)
        with theirs, self.setting.log.open("wb") as log:
            process = subprocess.Popen(
                self.command(subject, files), stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=files
            )
        return process, ours

    def command(self, subject: Subject, files: tuple[int, int, int]) -> list[str]:
        setting = self.setting
        readable = {"/grade/driver": setting.driver}
        if subject.library:
            readable["/grade/heap.so"] = subject.library
        cpu = int(PATIENCE * setting.seconds) + 1
        own = setting.region_bytes if subject.face == SYSTEM else 0  # the C library's malloc does not use the region
        box = Sandbox(readable, memory_mib=(setting.region_bytes + own) // MIB + OWN_MIB, cpu_seconds=cpu)
        numbers = (*files, setting.region_bytes, setting.blocks, setting.batch, *setting.populated, setting.is_stamped)
        return box.command(["/grade/driver", "/grade/heap.so", subject.face, *(str(int(each)) for each in numbers)])

    def __enter__(self) -> Player:
        try:
            self.load()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> None:
        """Learn the process's number from the kernel, and then let the driver load the submission."""
        self.pid = self.greeted()
        self.handle = os.pidfd_open(self.pid)
        self.private_at_start = self.private_kib()
        self.say(0)
        status = self.heard()
        if status:
            raise Ended(NOT_READY.get(status, "it did not start"))

    def greeted(self) -> int:
        self.socket.settimeout(START_SECONDS)
        try:
            said, extra, _, _ = self.socket.recvmsg(WORD.size, socket.CMSG_SPACE(CREDENTIALS.size))
        except TimeoutError:
            said, extra = b"", []
        if not said or not extra:
            why = " ".join(last_lines(self.setting.log, 1))
            raise SandboxError(f"the sandbox did not start the driver: {why or 'it printed nothing'}")
        pid: int = CREDENTIALS.unpack(extra[0][2][: CREDENTIALS.size])[0]
        return pid

    def end(self) -> None:
        """End the process, at whatever point of its start it is.

        bwrap is left to end by itself: killed before its child is set up, it would leave a child that waits forever.
        """
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # a driver that has not loaded the submission ends itself
        if self.handle is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def close(self) -> None:
        self.end()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.handle is not None:
            os.close(self.handle)
        self.socket.close()
        self.heap.close()
        self.control.close()
        for file in (self.heap_file, self.control_file):
            os.close(file)

    # --- requests

    def one(self, request: Request) -> int:
        """Play one request; the address it returned, or 0."""
        packed = struct.pack("<BBHIQ", request.op, request.log2_align, 0, request.block, request.size)
        self.control[CONTROL_BYTES : CONTROL_BYTES + REQUEST.itemsize] = packed
        self.exchange(1)
        result: int = WORD.unpack_from(self.control, self.results_at)[0]
        return result

    def many(self, requests: Any) -> I64:
        """Play a batch of REQUEST records; the addresses."""
        content = requests.tobytes()
        end = self.results_at + WORD.size * len(requests)
        self.control[self.results_at : end] = b"\xff" * (end - self.results_at)  # an answer sent too early shows
        self.control[CONTROL_BYTES : CONTROL_BYTES + len(content)] = content
        self.exchange(len(requests))
        return np.frombuffer(self.control[self.results_at : end], np.int64)

    def exchange(self, count: int) -> None:
        self.say(count)
        self.heard()

    def say(self, word: int) -> None:
        try:
            self.socket.send(WORD.pack(word))
        except OSError:
            raise Ended(self.how_it_ended()) from None

    def heard(self) -> int:
        """The process's answer. Raises Ended if there is none in time."""
        self.socket.settimeout(max(min(self.seconds_left, self.setting.seconds), 0.001))
        began = time.monotonic()
        try:
            said = self.socket.recv(WORD.size)
        except TimeoutError:
            raise Silent(f"it does not answer within {self.setting.seconds:g} s") from None
        except OSError:
            said = b""
        self.seconds_left -= time.monotonic() - began
        if len(said) != WORD.size:
            raise Ended(self.how_it_ended())
        word: int = WORD.unpack(said)[0]
        return word

    def how_it_ended(self) -> str:
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        if status > 128 and status - 128 in set(signal.Signals):
            return f"it was ended by {signal.Signals(status - 128).name}"
        return f"it exited with status {status}"

    # --- what the kernel says of the process

    def cpu_nanoseconds(self) -> int:
        """The processor time that the process has used, by the kernel's clock for it."""
        try:
            return time.clock_gettime_ns(~self.pid << 3 | 2)
        except OSError:
            raise Ended(self.how_it_ended()) from None

    def private_kib(self) -> int:
        """The private memory of the process that is resident."""
        try:
            lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            raise Ended(self.how_it_ended()) from None
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Anonymous:", "Swap:")))

    def bytes_elsewhere(self) -> int:
        """The private memory that it took since it was loaded, beyond what any library has."""
        return max(0, self.private_kib() - self.private_at_start - OWN_KIB) << 10

    def extent(self) -> int:
        """The bytes of the region that the heap holds: those it says, unless it touched more pages than that."""
        said = self.claimed()
        touched = os.fstat(self.heap_file).st_blocks * 512
        return max(sum(said), touched) if touched > sum(map(whole_pages, said)) else sum(said)

    def claimed(self) -> tuple[int, int]:
        """The bytes below the break and the mapped ones, as the process says."""
        broken, mapped = struct.unpack_from("<2Q", self.control)
        return broken, mapped


def whole_pages(count: int) -> int:
    return -(-count // PAGE) * PAGE


def sealed(name: str, size: int) -> int:
    """A file in memory whose size nobody can change."""
    file = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return file


def records(requests: Sequence[Request]) -> Any:
    """Requests as REQUEST records."""
    rows = [(each.op, each.log2_align, 0, each.block, each.size) for each in requests]
    return np.array(rows, REQUEST)
