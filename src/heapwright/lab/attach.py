"""Record a program that runs already: load the recorder into it, and lead its calls of malloc there.

One thread is borrowed for some milliseconds to call dlopen and to open the run's ring (`heapwright.live.borrow`). All
else happens from outside: the words through which modules call malloc, free and their relatives are changed in memory
(`heapwright.live.slots`), first during a pause, and changed back at the end. Modules that the program loads later are
found by its mappings. If this process is killed, the words stay: the recorder then finds no more chunks, and pauses.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

from heapwright.lab.recorded import users
from heapwright.live.borrow import Borrowed, borrowed
from heapwright.live.errors import InspectError
from heapwright.live.links import malloc_module
from heapwright.live.memory import Image
from heapwright.live.process import Process
from heapwright.live.registers import errno_place
from heapwright.live.safety import module_with
from heapwright.live.slots import Exchange, Slots
from heapwright.live.source import Module
from heapwright.live.walls import status_of
from heapwright.preload import clause
from heapwright.traces import raw

LOOK = 0.25  # seconds between two looks at the program's modules
NOW, STAY = 2, 0x1000  # RTLD_NOW, RTLD_NODELETE
OPEN_RUN, BEGIN_SAMPLE = "heapwright_recording_open_run", "heapwright_recording_begin_sample"
MALLOC = ("malloc", "calloc", "realloc", "free", "memalign", "aligned_alloc", "posix_memalign", "valloc", "pvalloc")
BESIDE = ("dlclose", "prctl")  # of the C library: what the recorder must know of
BASE = {f"__libc_{name}": name for name in ("malloc", "calloc", "realloc", "memalign", "free")}


def check(process: Process) -> None:
    """Raise InspectError, in one line, if a process cannot be recorded."""
    reason = why_not(process)
    if reason:
        raise InspectError(f"process {process.pid} ({process.name}) cannot be recorded: it {reason}")


def why_not(process: Process) -> str:
    """The reason, as a clause about the process; "" if it can be recorded."""
    reason = clause(str(process.folder / "exe"))
    if reason:
        return reason
    if not is_same_root(process):
        return "sees other files than heapwright, as in a container: run heapwright inside"
    if filters_of(str(process.pid)) > filters_of("self"):
        return "filters its system calls (seccomp), and might be killed: start it with `heapwright record --control`"
    if process.pid == os.getpid():
        return "is heapwright itself"
    return "is being recorded already" if ring_in(process) else ""


def is_same_root(process: Process) -> bool:
    """Whether the process sees the same files."""
    try:
        return all(os.path.samefile(Path("/proc/self", each), process.folder / each) for each in ("root", "ns/mnt"))
    except OSError as error:
        raise process.refused(error) from error


def filters_of(who: str) -> int:
    """How many filters of system calls a process has."""
    return int(status_of(who).get("Seccomp_filters", "0"))


def ring_in(process: Process) -> bool:
    """Whether the process maps a ring that a collector still empties."""
    return any(each.path.endswith(raw.SUFFIX) and is_locked(Path(each.path)) for each in process.mappings)


def is_locked(ring: Path) -> bool:
    """Whether the collector of a ring lives. It holds a lock until it ends."""
    import fcntl

    try:
        with ring.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    ring.unlink(missing_ok=True)  # its collector was killed
    return False


def descriptor_of(process: Process) -> int:
    """A descriptor that can be read when the process has ended."""
    try:
        return os.pidfd_open(process.pid or 0)
    except OSError as error:
        raise process.ended() from error


class Attached:
    """A process with the recorder in it. Use `load`, then `lead`, and at the end `restore`."""

    def __init__(self, process: Process, library: Path, ring: Path):
        self.process, self.library, self.ring = process, library, ring
        self.descriptor = descriptor_of(process)
        self._slots = Slots(frozenset((*MALLOC, *BESIDE, *BASE)))
        self._libc = module_with(process.modules(), "gnu_get_libc_version", process)
        self._served = 0  # the bias of the module whose malloc the process has
        self._exchanges: dict[str, Exchange] = {}
        self._seen: list[tuple[int, str]] = []

    # --- into the process

    def load(self, depth: int, sample: int) -> None:
        """Load the recorder, unless it is there already, and have it open the ring.

        `depth` is that of the call stacks, and `sample` the bytes between two points of a sample; 0 if there are none.
        """
        with borrowed(self.process) as thread:
            errno = errno_place(self.process, self._libc.address_of("__errno_location"), thread.registers)
            saved = self.process.read(errno, 4) if errno else b""
            try:
                self._prepare(thread, depth, sample)
            finally:
                self.process.write(errno, saved)

    def _prepare(self, thread: Borrowed, depth: int, sample: int) -> None:
        """Have the thread load the recorder and open the ring."""
        recorder = self.recorder()
        if recorder is None:
            self.process.write(thread.room, os.fsencode(self.library) + b"\0")
            thread.call(self._libc.address_of("dlopen"), thread.room, NOW | STAY)
            self.process.look_again()
            recorder = self.recorder()
            if recorder is None:
                raise InspectError(f"process {self.process.pid} ({self.process.name}) cannot load {self.library}")
        self._exchanges = self._functions(recorder)
        self._adapt(recorder)
        self.process.write(thread.room, os.fsencode(self.ring) + b"\0")
        thread.call(recorder.address_of(OPEN_RUN), thread.room, depth)
        if sample:
            thread.call(recorder.address_of(BEGIN_SAMPLE), sample)
        self.process.remap()
        if not self._has_ring():
            raise InspectError(f"process {self.process.pid} ({self.process.name}) cannot open {self.ring}")

    def recorder(self) -> Module | None:
        """The recorder in the process, where an earlier recording may have left it."""
        name = self.library.name
        return next((each for each in self.process.modules() if Path(each.path).name == name), None)

    def _functions(self, recorder: Module) -> dict[str, Exchange]:
        """What the words of the process lead to, and what they are to lead to."""
        served = malloc_module(Image(self.process)) or self._libc
        self._served = served.bias
        found = {}
        for name in (*MALLOC, *BESIDE):
            old = (self._libc if name in BESIDE else served).address_of(name)
            new = recorder.address_of(name)
            if old and new and old != new:
                found[name] = Exchange(old, new)
        return found

    def _adapt(self, recorder: Module) -> None:
        """Have the recorder call the program's own malloc, which may not be the C library's."""
        own = {
            base: Exchange(self._libc.address_of(base), self._exchanges[name].old)
            for base, name in BASE.items()
            if name in self._exchanges
        }
        self._slots.exchange(self.process, recorder, own)

    # --- the words

    def lead(self) -> None:
        """Lead the calls of all modules to the recorder, if there are new ones."""
        self.process.remap()
        seen = [(each.start, each.path) for each in self.process.mappings if each.has_file]
        if seen != self._seen:
            self.process.look_again()
            self._exchange(self.process, self._exchanges)
            self._seen = seen

    def restore(self) -> None:
        """Lead the calls back, also in children that were forked meanwhile."""
        back = {name: Exchange(pair.new, pair.old) for name, pair in self._exchanges.items()}
        for process in (self.process, *self._children()):
            try:
                process.look_again()
                self._exchange(process, back)
            except InspectError:
                continue  # it has ended

    def _exchange(self, process: Process, functions: dict[str, Exchange]) -> None:
        """Change the words of all modules, except a malloc that the program brings: it may call its own functions."""
        for module in process.modules():
            if module.bias != self._served or self._served == self._libc.bias:
                self._slots.exchange(process, module, functions)

    def _children(self) -> list[Process]:
        found = []
        for folder in users(self.ring):
            if folder.name != str(self.process.pid):
                try:
                    found.append(Process(int(folder.name)))
                except InspectError:
                    continue
        return found

    # --- while it runs

    def watch(self, seconds: float | None, is_over: Callable[[], bool]) -> None:
        """Wait until the process ends or runs another program, the time is up, or `is_over`."""
        rest = seconds
        while (
            not is_over()
            and (rest is None or rest > 0)
            and not self.has_ended(LOOK if rest is None else min(rest, LOOK))
        ):
            try:
                self.lead()
            except InspectError:
                return
            rest = None if rest is None else rest - LOOK

    def has_ended(self, seconds: float) -> bool:
        """Wait some seconds for the process's end. Returns whether it has ended, or runs another program."""
        if select.select([self.descriptor], [], [], seconds)[0]:
            return True
        return not self._has_ring()

    def _has_ring(self) -> bool:
        return any(each.path == str(self.ring) for each in self.process.mappings)
