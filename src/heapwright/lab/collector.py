"""The collector of a recording: it makes the ring that a run's processes map, and turns it into a trace as they run.

The recorded processes need only their mapping (`heapwright.native.runtime.recorder`): no path, privilege, descriptor or
system call. The collector, in another process, offers them chunks of the ring, converts what they write, and offers the
chunks again. So the ring and the collector's memory do not grow with the length of the run, and the trace is whole soon
after its end. When the disk is full, the recording ends, and what is left waits in memory for the ring's place.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from heapwright.errors import UserError
from heapwright.lab.phases import Clock, Phases, first_phase, pause, resume
from heapwright.memory import BufferMemory
from heapwright.traces import raw

if TYPE_CHECKING:
    from heapwright.lab.converter import Converter
    from heapwright.lab.recorded import Family
    from heapwright.lab.sites import Sites
    from heapwright.traces.format import Writer

MIN_AHEAD, MAX_AHEAD = 256, 2048  # chunks that are offered and not yet taken
FIRST = 32  # chunks that are there when the program starts; the kernel takes 20 µs for each
SHORTEST, LONGEST = 0.001, 0.01  # seconds between two passes
UNASKED = 0.05  # seconds without a pass, if no chunk is taken: a pass takes 200 µs of the processor
LONGEST_OF_SAMPLE = 0.05  # a sample fills no chunk in this time, and a pass takes as long as many requests
SPARE, SPARE_PART = 64 * 1024, 8  # to leave free on the disk: bytes, and an eighth of what is written
WAITING = 4  # bytes of the trace for an event that is not written yet
OWNER, EVERYBODY = 0o600, 0o666
CLOCKS = Path("/sys/devices/system/clocksource/clocksource0")
STEADY_FLAGS = {"constant_tsc", "nonstop_tsc"}


def is_clock_common() -> bool:
    """Whether the kernel says that the clocks of all processors agree, at all times.

    Then it uses that clock itself, or offers it beside the one of a hypervisor.
    """
    try:
        current = (CLOCKS / "current_clocksource").read_text().split()
        available = (CLOCKS / "available_clocksource").read_text().split()
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return False
    return "tsc" in current or ("tsc" in available and flags >= STEADY_FLAGS)


class Collector:
    """A recording in progress, as a context. At its end all that was recorded is in `trace`, without the header.

    Use `by_all_users` if the program may become another user and then start programs that open the ring. The ring's
    name cannot be guessed, and other users cannot list `folder`. `ticks` reads the processor's clock, if the clocks of
    all processors agree. If the recording `is_controlled`, it begins with a pause, and the program and others may start
    and stop it. When the trace has `budget` bytes, the recording ends; 0 is no limit. `sample` is
    the bytes between two points of a sample; 0 if all requests are recorded. `depth` is the frames of a call stack that
    are kept, of those that the program records; 0 is all. Raises UserError if the ring cannot be
    made.
    """

    _header: Any

    def __init__(
        self,
        folder: Path,
        trace: BinaryIO,
        by_all_users: bool = False,
        ticks: Callable[[], int] | None = None,
        is_controlled: bool = False,
        budget: int = 0,
        sample: int = 0,
        depth: int = 0,
    ):
        self.path = folder.absolute() / f"{os.urandom(8).hex()}{raw.SUFFIX}"
        self._trace, self._clock = trace, Clock(ticks)
        self.budget, self._sample, self._depth = budget, sample, depth
        self._room = 0  # chunks that the ring has
        self._longest = LONGEST_OF_SAMPLE if sample else LONGEST
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None
        self._taken, self._unasked = 0, 0.0
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER)
            os.fchmod(self._file, EVERYBODY if by_all_users else OWNER)
            fcntl.flock(self._file, fcntl.LOCK_EX)  # others see that the collector lives
            os.posix_fallocate(self._file, 0, raw.HEADER_BYTES)
            self._begin(is_controlled)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            what = f"cannot record into {folder}: {error.strerror}"
            raise UserError(f"{what}; choose another place for the trace") from error

    def _begin(self, is_controlled: bool) -> None:
        """Fill in the header, and offer the first chunks. Raises OSError if there is no room for a single one."""
        self._data = mmap.mmap(self._file, raw.HEADER_BYTES)
        self._header = raw.Header(BufferMemory(self._data), 0)  # type: ignore[arg-type]  # loads and stores suffice
        self._header.clock = time.time_ns()
        self._header.has_clock = int(self._clock.ticks is not None)
        self._header.phase.store(first_phase() - is_controlled)
        self._header.is_controlled = int(is_controlled)
        self.phases = Phases(self._header, self._clock.elapsed)
        self._offer_first(FIRST)
        if not self._room:
            raise OSError(reason := self._stopped(), os.strerror(reason))
        self._header.magic = raw.MAGIC

    def _offer_first(self, chunks: int) -> None:
        """Offer further chunks, each for the ticket of its own number, as the converter will do again."""
        offered = self._room
        self._reserve_about(chunks)
        for ticket in range(offered, self._room):
            self._header.slots[ticket] = ticket + 1 << raw.TICKET | ticket

    # --- what makes the trace: imported and made when the program runs already

    @cached_property
    def converter(self) -> Converter:
        from heapwright.lab.converter import Converter

        made = Converter(self._file, self._clock)
        made.enlarge(self._room)
        made.issue(self._room)  # the same slots again
        return made

    @cached_property
    def family(self) -> Family:
        from heapwright.lab.recorded import Family

        return Family(self._sample)

    @cached_property
    def sites(self) -> Sites:
        from heapwright.lab.sites import Sites

        return Sites(self._depth)

    @cached_property
    def writer(self) -> Writer:
        from heapwright.traces.format import Writer

        return Writer(self._trace)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
        self._stop(raw.ENDED)  # stops processes that are still running
        self.phases.look()
        try:
            if self._error:
                raise self._error
            self._convert()
            self.family.finish(self.converter, self._write)
        finally:
            self.converter.close()
            self._data.close()
            os.close(self._file)
            self.path.unlink()
        self.writer.flush()

    # --- passes

    def _run(self) -> None:
        pause = SHORTEST
        try:
            self._offer_first(MIN_AHEAD - FIRST)  # while the program starts
            while not self._header.tickets.load() and not self._ending.wait(pause):
                pause = min(2 * pause, self._longest)
            while not self._ending.wait(pause):
                if self.is_due():
                    pause = SHORTEST if self.make_pass() else min(2 * pause, self._longest)
        except Exception as error:  # to be raised in the caller's thread
            self._error = error
            self._stop(raw.LATE)

    def is_due(self) -> bool:
        """Whether a pass is due: a chunk was taken or a phase began since the last one, or that was long ago."""
        is_asked = self._header.tickets.load() != self._taken or self._header.phase.load() != self.phases.last
        return is_asked or time.monotonic() >= self._unasked

    def make_pass(self) -> bool:
        """Convert what is there, and offer chunks. Returns whether the program is busy."""
        self._unasked = time.monotonic() + UNASKED
        self.phases.look()
        self._convert()
        if self._stopped() == raw.SPENT:
            return False
        self.converter.release()
        self.family.look(self.converter, self.path, self._write)
        try:
            self._spare(0)
        except OSError as error:
            self._stop(error.errno or errno.EIO)
        return self.make_room()

    def _convert(self) -> None:
        """Convert what is there, until the trace has the size that it may have. What comes later is left out."""
        if self._stopped() != raw.SPENT:
            for process in self.converter.convert():
                self._write(process)
                if self._keep_budget():
                    return
            self._keep_budget()

    def _write(self, process: Any) -> None:
        """Write a process's columns. If that fails, end the recording: they follow when the ring is gone."""
        self.converter.hand_over(process, self.writer, self.sites)
        if not self._stopped():
            try:
                self.writer.flush()
            except OSError as error:
                self._stop(error.errno or errno.EIO)

    # --- phases

    def resume(self) -> None:
        """Record from now on."""
        resume(self._header)

    def pause(self) -> None:
        """Record no calls from now on."""
        pause(self._header)

    @property
    def is_alone(self) -> bool:
        """Whether the kernel says that no process has opened the ring: it gives a lease to the only one.

        Whoever opens the ring in this moment waits until the lease is returned, and a signal that is ignored says so.
        """
        try:
            fcntl.fcntl(self._file, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(self._file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:  # there are others, or the file system has no leases
            return False
        return True

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can be recorded."""
        return bool(self._stopped())

    # --- room

    def make_room(self) -> bool:
        """Offer chunks, for which the ring grows if it has no free ones. Returns whether many were taken."""
        self._beat()
        state, taken = self.converter.state, self._header.tickets.load()
        ahead = min(max(2 * (taken - self._taken), MIN_AHEAD), MAX_AHEAD)
        self.converter.issue(ahead)
        while (more := min(taken + ahead - state.issued, self.converter.most - state.room)) > 0:
            if not self._reserve_about(min(more, MIN_AHEAD)):
                break
            self.converter.enlarge(self._room)
            self.converter.issue(ahead)  # threads may be waiting, and the kernel clears all that the ring grows by
            self._beat()
        is_busy = 8 * (taken - self._taken) > ahead
        self._taken = taken
        return bool(is_busy)

    def _beat(self) -> None:
        """Tell those who wait that there is hope."""
        self._header.beats.store(self._header.beats.load() + 1)

    def _reserve_about(self, chunks: int) -> bool:
        """Reserve disk space for more chunks, or for fewer if there is less. Returns whether there are any."""
        while chunks > 0 and not self._stopped():
            if self._reserve(chunks):
                return True
            chunks //= 2
        return False

    def _reserve(self, chunks: int) -> bool:
        """Reserve disk space for more chunks. Returns whether that worked. Without any, the recording ends."""
        try:
            self._spare(chunks * raw.CHUNK_BYTES)
            os.posix_fallocate(self._file, raw.HEADER_BYTES + self._room * raw.CHUNK_BYTES, chunks * raw.CHUNK_BYTES)
        except OSError as error:
            if chunks == 1 and not self._room:
                self._stop(error.errno or errno.EIO)
            return False
        self._room += chunks
        return True

    def _spare(self, more: int) -> None:
        """Raise OSError if `more` bytes of the ring, or what follows of the trace, would leave a disk too full."""
        check_free(self._file, more, self._room * raw.CHUNK_BYTES)
        has_begun = "converter" in vars(self)  # not only to be asked here: its import takes a while
        size, written = (self.writer.size, self.writer.written) if has_begun else (0, 0)
        waiting = WAITING * self.converter.waiting() if has_begun else 0
        check_free(self._trace.fileno(), size - written + waiting, size)
        largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if largest != resource.RLIM_INFINITY and size + waiting + SPARE > largest:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def _keep_budget(self) -> bool:
        """End the recording when the trace, with what is not written yet, has the size that it may have."""
        is_spent = bool(self.budget) and self.writer.size + WAITING * self.converter.pending() >= self.budget
        if is_spent:
            self._stop(raw.SPENT)
        return is_spent

    def _stop(self, reason: int) -> None:
        """Offer no more chunks, for a reason, unless there has been one before.

        Programs run on at full speed, unless they are to count the calls that the reason cost.
        """
        if not self._stopped():
            if reason in (raw.ENDED, raw.SPENT) or self._header.is_controlled:
                pause(self._header)
            self._header.stopped.store(reason)

    def _stopped(self) -> int:
        """The reason why there will be no more chunks; 0 while there are."""
        reason: int = self._header.stopped.load()
        return reason

    def complete(self) -> dict[str, Any]:
        """Write the trace's header, and return it."""
        stacks, sites, notes = self.sites.stacks(self.family.parents)
        header = self.family.header(notes) | self.phases.facts(self.budget)
        self.writer.finish(header, stacks, self.family.numbers, sites)
        return header


def check_free(file: int, more: int, size: int) -> None:
    """Raise OSError if a file of `size` bytes that grows by `more` leaves its disk too full."""
    disk = os.fstatvfs(file)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize - more < SPARE + (size + more) // SPARE_PART:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
