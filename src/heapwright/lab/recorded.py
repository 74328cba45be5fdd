"""The processes of a recorded run: who they are, what their threads are called, and which of them have ended."""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from heapwright.lab.converter import STRAY, Converter, command_of, notes_of, summary_of, threads_of
from heapwright.traces import raw
from heapwright.traces.calls import note
from heapwright.traces.events import Summary

REASONS = {
    raw.LATE: "the recorder was stopped, or too slow",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow further (ulimit -f)",
}
CLOCK = (1 << 62) - 1  # any number of so many nanoseconds is a valid date
NO_ADDRESSES = "address space is limited (ulimit -v)"
FIRST_NAMING, LAST_NAMING = 0.05, 5.0  # seconds between two readings of the threads' names
NAMES = 50  # threads whose names are read in one pass, because the program may be waiting
LOOKS = 16  # processes that are looked at in one pass
MANY = 64  # processes, from which on it pays to ask which have ended


@dataclass
class Recorded:
    """What stays of a process when it has been converted."""

    number: int
    pid: int
    parent_pid: int  # if it was not forked from a recorded process
    forked_from: int
    command: str
    names: dict[int, str] = field(default_factory=dict)  # of threads, by their numbers in the recording
    threads: list[str] = field(default_factory=list)  # by their numbers in the trace
    summary: Summary = field(default_factory=Summary)
    state: Any = None  # its heapwright.traces.conversion.state.ProcessState, for the repairs

    @property
    def has_called(self) -> bool:
        """Whether it made a call after it described itself: a forked child does that at once."""
        return bool(self.summary.events or self.state and notes_of(self.state, True))


class Family:
    """The processes of one run."""

    def __init__(self, sample: int = 0) -> None:
        self.sample = sample  # bytes between two points of a sample; 0: everything is recorded
        self.known: dict[int, Recorded] = {}
        self.target = 0  # the PID of a process that is older than this one
        self._naming, self._pause = 0.0, FIRST_NAMING
        self._unnamed: Iterator[tuple[Any, Any]] = iter(())
        self._burying = MANY
        self._census: Census | None = None
        self.losses: Counter[str] = Counter()

    @property
    def recorded(self) -> list[Recorded]:
        """The processes that made calls, in the order of their starts."""
        return [each for _, each in sorted(self.known.items()) if each.has_called]

    @property
    def numbers(self) -> dict[int, int]:
        """The place of each process in the trace, by its number in the recording."""
        return {each.number: place for place, each in enumerate(self.recorded)}

    @property
    def parents(self) -> dict[int, int]:
        """The process that each forked one was forked from. It has a lower number."""
        return {each.number: each.forked_from for each in self.known.values() if 0 < each.forked_from < each.number}

    def of(self, process: Any) -> Recorded:
        """What is kept of a process."""
        if process.number not in self.known:
            facts = process.facts
            self.known[process.number] = Recorded(
                process.number, facts.pid, facts.parent, facts.forked_from, command_of(process)
            )
        return self.known[process.number]

    # --- while they run

    def look(self, converter: Converter, ring: Path, write: Callable[[Any], None]) -> None:
        """Read the threads' names now and then, and free what processes hold that have ended."""
        if time.monotonic() >= self._naming:
            self._read_names(converter)
        if self._census is None and converter.state.living > self._burying:
            self._census = Census(ring, {process.number for process in converter.processes()})
        if self._census is not None and self._census.is_done():
            self._bury(converter, self._census, write)
            self._census, self._burying = None, 2 * converter.state.living + MANY

    def _read_names(self, converter: Converter) -> None:
        """Read some names, and after the last one, make a pause."""
        some = list(islice(self._unnamed, NAMES))
        for process, thread in some:
            self._name(process, thread)
        if not some:
            self._unnamed = all_threads(converter)
            self._naming, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LAST_NAMING)

    def _name(self, process: Any, thread: Any) -> None:
        """Read the name of a thread, if it still lives."""
        kept = self.of(process)
        try:
            name = Path(f"/proc/{kept.pid}/task/{thread.tid}/comm").read_text(errors="replace")
        except OSError:
            return
        kept.names[thread.number] = name.rstrip("\n")

    def _bury(self, converter: Converter, census: Census, write: Callable[[Any], None]) -> None:
        """End the processes that no longer map the ring, or whose place another program has taken."""
        living = census.living | {self.target}
        later: set[int] = set()
        ended = []
        for process in reversed(list(converter.processes())):
            pid = process.facts.pid
            if not process.has_ended and process.number in census.asked and (pid not in living or pid in later):
                ended.append(process)
            later.add(pid)
        if ended:
            for full in converter.convert():
                write(full)
        for process in ended:
            self._end(converter, process, write)
        converter.release()

    # --- when they have ended

    def finish(self, converter: Converter, write: Callable[[Any], None]) -> None:
        """End all processes, and note what was lost: the run is over."""
        for process in list(converter.processes()):
            if not process.has_ended:
                self._end(converter, process, write)
        header = converter.header
        self.date = datetime.fromtimestamp((header.clock & CLOCK) // 10**9, UTC)
        stopped = header.stopped.load()
        self.in_parts = bool(header.is_controlled)
        if self.in_parts and stopped not in raw.WANTED:
            note(self.losses, f"recordings that ended early: {reason_of(stopped)}", 1)
        elif stopped not in raw.WANTED:
            note_loss(self.losses, header.full, reason_of(stopped))
        note_loss(self.losses, header.unmapped, NO_ADDRESSES)
        note(self.losses, STRAY, converter.strays() if stopped != raw.SPENT else 0)

    def _end(self, converter: Converter, process: Any, write: Callable[[Any], None]) -> None:
        converter.end(process)
        write(process)
        converter.calls["drop_columns"](process.address)
        kept = self.of(process)
        kept.summary = summary_of(process)
        named = sorted((thread.name, thread.number) for thread in threads_of(process) if thread.name)
        kept.threads = [kept.names.get(number, "") for _, number in named]
        kept.state = process

    # --- the trace's header

    def header(self, more: Mapping[int, Counter[str]]) -> dict[str, Any]:
        """The header of the trace, with more notes about some processes. It has none if nothing was recorded."""
        recorded = self.recorded
        is_whole = not self.losses and not any(each.state.repairs.damaged for each in recorded)
        notes = [notes_of(each.state, is_whole, self.in_parts) + more.get(each.number, Counter()) for each in recorded]
        if notes:
            notes[0] += self.losses
        command = recorded[0].command if recorded else ""
        return {
            "source": "recording",
            "program": command.split(" ")[0],
            "command": command.split(" ") if command else [],
            "date": self.date.isoformat(),
            "host": {"pointer_size": 8, "page_size": mmap.PAGESIZE},
            "summary": asdict(sum((each.summary for each in recorded), Summary())),
            "processes": list(self._facts(notes)),
        }

    def _facts(self, notes: list[Counter[str]]) -> Iterator[dict[str, Any]]:
        """The facts about each process in the trace's header."""
        images: Counter[int] = Counter()  # the number of programs that each PID has run
        places = iter(notes)
        for number in sorted(self.known):
            each = self.known[number]
            parent = self.known.get(each.forked_from) if each.forked_from < number else None
            images[each.pid] = 0 if parent else images[each.pid] + (each.pid in images)
            if parent:
                each.command = parent.command
            if each.has_called:
                yield {
                    "pid": each.pid,
                    "parent": parent.pid if parent else each.parent_pid,
                    "execs": images[each.pid],
                    "command": each.command,
                    "threads": each.threads,
                    "sample": self.sample,
                    "notes": dict(next(places)),
                    "summary": asdict(each.summary),
                }


class Census:
    """Which of the processes with the numbers `asked` live. It is taken in parts, because thousands take seconds."""

    def __init__(self, ring: Path, asked: set[int]):
        self.ring, self.asked = ring, asked
        self.living: set[int] = set()  # their PIDs
        self._rest = Path("/proc").glob("[0-9]*")

    def is_done(self) -> bool:
        """Look at some more processes. Returns whether these were the last."""
        some = list(islice(self._rest, LOOKS))
        for each in some:
            if uses(each, self.ring):
                self.living |= pids_of(each)
        return not some


def all_threads(converter: Converter) -> Iterator[tuple[Any, Any]]:
    """The threads of all processes, each with its process."""
    return ((process, thread) for process in converter.processes() for thread in threads_of(process))


def reason_of(stopped: int) -> str:
    """Why a recording ended early, by the ring's header."""
    return REASONS.get(stopped) or os.strerror(abs(stopped) & 0xFFF)


def note_loss(notes: Counter[str], loss: Any, why: str) -> None:
    """Note how many calls were not recorded, and why."""
    processes = loss.processes.load()
    note(notes, f"calls of {processes} process{'es' * (processes != 1)}, not recorded: {why}", loss.calls.load())


def users(ring: Path) -> list[Path]:
    """The processes, as folders of /proc, that map the ring."""
    return [each for each in Path("/proc").glob("[0-9]*") if uses(each, ring)]


def uses(process: Path, ring: Path) -> bool:
    """Whether a process maps the ring. Such processes are younger than this one."""
    return is_younger(process) and is_mapped(ring, process)


def is_younger(process: Path) -> bool:
    """Whether a process started after this one, and so may be a descendant."""
    return start_of(process) >= start_of(Path("/proc/self")) and process.name != str(os.getpid())


def start_of(process: Path) -> int:
    """The start time of a process, in the kernel's clock ticks; 0 if it is gone."""
    try:
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


def is_mapped(ring: Path, process: Path) -> bool:
    """Whether a process maps the ring. If that may not be known, it may."""
    try:
        return os.fsencode(ring) in (process / "maps").read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False


def pids_of(process: Path) -> set[int]:
    """The numbers of a process in all its namespaces."""
    try:
        status = (process / "status").read_text(errors="replace")
    except OSError:
        return set()
    return {int(word) for line in status.splitlines() if line.startswith("NSpid:") for word in line.split()[1:]}
