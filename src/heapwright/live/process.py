"""A running process, read from outside: process_vm_readv for its bytes, /proc for the rest.

Source: process_vm_readv(2), proc(5). Every page is looked up in the page map before it is read, because a read would
bring swapped pages back and give untouched ones a frame. Since Linux 5.19 process_vm_readv also makes a copy of each
page that a fork shares (mm/gup.c, gup_must_unshare), so these pages are read through /proc/PID/mem.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from heapwright.live.errors import InspectError, Unreadable
from heapwright.live.mappings import Mapping, MappingMap, parse_maps, parse_smaps
from heapwright.live.pages import PAGE, Pages, read_pages, shared_pages, without_zero_pages
from heapwright.live.source import Octets, Source
from heapwright.live.walls import reason_for, status_of

MAX_BYTES = 1 << 30  # in one call: it takes fewer than 2 GiB
DELETED = " (deleted)"

libc = ctypes.CDLL(None, use_errno=True)


class Span(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Process(Source):
    """A process, given by its PID. Raises InspectError, in one line, if it cannot be read."""

    knows_residency = True

    def __init__(self, pid: int):
        super().__init__()
        self.pid = pid
        self.folder = Path(f"/proc/{pid}")
        self.name = self._command()
        self._pagemap = self._open("pagemap")
        self.mappings = MappingMap([])
        self.look_again()
        self._try_to_read()

    def close(self) -> None:
        os.close(self._pagemap)

    # --- /proc

    def look_again(self) -> None:
        """Read the mappings again, because they change while the process runs."""
        self.mappings = self._read_mappings("smaps", parse_smaps)
        self._modules = None

    def remap(self) -> None:
        self.mappings = self._read_mappings("maps", parse_maps)

    def _read_mappings(self, name: str, parse: Callable[[Iterable[str]], list[Mapping]]) -> MappingMap:
        try:
            with (self.folder / name).open(errors="surrogateescape") as lines:
                mappings = MappingMap(parse(lines))
        except OSError as error:
            raise self._explained(error) from error
        if len(mappings):
            return mappings
        if len(self.mappings):
            raise self.ended()
        raise InspectError(f"process {self.pid} ({self.name}) has no memory: it has ended, or is the kernel's own")

    def _command(self) -> str:
        try:
            return (self.folder / "comm").read_text().strip()
        except OSError as error:
            raise InspectError(f"there is no process {self.pid}") from error

    def _open(self, name: str) -> int:
        try:
            return os.open(self.folder / name, os.O_RDONLY)
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> InspectError:
        if error.errno in (errno.EACCES, errno.EPERM):
            return InspectError(f"process {self.pid} ({self.name}) may not be read: {reason_for(self.pid or 0)}")
        return self.ended()

    def refused(self, error: OSError) -> InspectError:
        """Why the kernel refuses to stop it: a process that has just ended is refused too."""
        self.remap()
        return self._explained(error)

    def ended(self) -> InspectError:
        return InspectError(f"process {self.pid} ({self.name}) ended while it was inspected")

    def threads(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self.folder / "task"))
        except OSError as error:
            raise self.ended() from error

    def tracer(self) -> int:
        """The PID of the process that traces this one, such as a debugger; 0 if there is none."""
        return int(status_of(str(self.pid)).get("TracerPid", "0"))

    def tracer_of(self, thread: int) -> int:
        """The same of one thread."""
        return int(status_of(f"{self.pid}/task/{thread}").get("TracerPid", "0"))

    def open_file(self, mapping: Mapping) -> Path | None:
        """The file that the process sees: through the kernel's own link, below its root, or at the path itself.

        /proc gives a path from the root of the process's mount namespace or, after a mere chroot, from our own root.
        """
        link = self.folder / "map_files" / f"{mapping.start:x}-{mapping.end:x}"
        if os.access(link, os.R_OK):
            return link
        path = mapping.path.removesuffix(DELETED)
        below = self.folder / "root" / path.lstrip("/")
        return next((each for each in (below, Path(path)) if is_inode(each, mapping)), None)

    # --- bytes

    def _try_to_read(self) -> None:
        """Find out now whether the process may be read, with a page that is resident."""
        for mapping in self.mappings:
            if mapping.is_readable and mapping.resident and mapping.path != "[vvar]":
                present = self.pages(mapping.start, min(mapping.end, mapping.start + PAGE * 1024)).present
                if present.any():
                    self.read(mapping.start + int(np.argmax(present)) * PAGE, 8)
                    return

    def pages(self, start: int, end: int) -> Pages:
        pages = read_pages(self._pagemap, start, end)
        return without_zero_pages(self._pagemap, start, pages) if pages.present.any() else pages

    def read(self, address: int, size: int) -> bytes:
        data = bytearray(size)
        if shared_pages(self._pagemap, address & -PAGE, address + size + PAGE - 1 & -PAGE).any():
            got = self._read_shared(data, address)
        else:
            got = self._read_ranges((ctypes.c_char * size).from_buffer(data), size, [(address, size)])
        if got < size:
            raise Unreadable(address + got, "it is not mapped any more")
        return bytes(data)

    def write(self, address: int, data: bytes) -> None:
        """Write into the process, also where it may only read itself."""
        memory = os.open(self.folder / "mem", os.O_WRONLY)
        try:
            os.pwrite(memory, data, address)
        except OSError as error:
            raise Unreadable(address, "it is not mapped any more") from error
        finally:
            os.close(memory)

    def fill(self, target: Octets, start: int, present: Any) -> Any:
        got = np.zeros(len(present), bool)
        shared = present & shared_pages(self._pagemap, start, start + len(present) * PAGE)
        for pages, read in ((present & ~shared, self._read_own), (shared, self._read_shared)):
            for first, last in batches(pages):
                fill_run(read, target, start, first, last, got)
        return got

    def _read_own(self, target: Octets, address: int) -> int:
        return self._read_ranges(target.ctypes.data, len(target), [(address, len(target))])

    def _read_shared(self, target: Any, address: int) -> int:
        """Read pages that a fork shares, which stay shared. Returns the number of bytes read."""
        memory = self._open("mem")
        try:
            return os.preadv(memory, [target], address)
        except OSError as error:
            if error.errno == errno.EIO:
                return 0
            raise self._explained(error) from error
        finally:
            os.close(memory)

    def _read_ranges(self, target: Any, size: int, ranges: list[tuple[int, int]]) -> int:
        """Read ranges into one buffer. Returns the number of bytes read."""
        place = ctypes.cast(target, ctypes.c_void_p).value if not isinstance(target, int) else target
        local = Span(place, size)
        remote = (Span * len(ranges))(*(Span(*each) for each in ranges))
        got = libc.process_vm_readv(self.pid, ctypes.byref(local), 1, remote, len(ranges), 0)
        if got >= 0:
            return int(got)
        number = ctypes.get_errno()
        if number == errno.EFAULT:
            return 0
        if number == errno.ESRCH:
            raise self.ended()
        raise self._explained(OSError(number, os.strerror(number)))


def fill_run(read: Callable[[Octets, int], int], target: Octets, start: int, first: int, last: int, got: Any) -> None:
    """Copy the pages [first, last). If one has disappeared meanwhile, continue after it."""
    while first < last:
        count = read(target[first * PAGE : last * PAGE], start + first * PAGE) // PAGE
        got[first : first + count] = True
        first += count + 1


def is_inode(path: Path, mapping: Mapping) -> bool:
    """Whether a path leads to the mapped file. A file that has replaced it has another inode."""
    try:
        found = path.stat()
    except OSError:
        return False
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    return found.st_ino == mapping.inode and device == mapping.device


def batches(present: Any) -> Iterator[tuple[int, int]]:
    """The runs of present pages, none longer than one call can read."""
    maximum = MAX_BYTES // PAGE
    for first, last in runs_of(present):
        for part in range(first, last, maximum):
            yield part, min(part + maximum, last)


def runs_of(flags: Any) -> Iterator[tuple[int, int]]:
    """The runs of true values, as ranges of indices."""
    padded = np.concatenate(([False], flags, [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def processes_named(name: str) -> list[int]:
    """The other processes whose command or program file has this name."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and name in names_of(entry):
            found.append(int(entry))
    return sorted(found)


def names_of(pid: str) -> set[str]:
    names = set()
    try:
        names.add(Path(f"/proc/{pid}/comm").read_text().strip())
        names.add(os.path.basename(os.readlink(f"/proc/{pid}/exe")))
    except OSError:
        pass
    return names
