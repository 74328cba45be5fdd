"""Run the check programs on a malloc library and say what holds."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from heapwright.conformance.cface.build import build
from heapwright.conformance.cface.table import Check, checks
from heapwright.conformance.verdict import Verdict

DEFAULT_TIMEOUT = 60.0
"""Seconds.  The programs set themselves a lower limit; this one is for those that cannot."""

_HOLDS, _FAILS, _CANNOT_TRY = 0, 1, 77
_OTHERS_INFLUENCE = ("LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES")


@dataclass(frozen=True, slots=True)
class RowResult:
    """The verdict on one check, with the reason in one line if there is one."""

    check: Check
    verdict: Verdict
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The number of checks that hold; informational and skipped ones are not counted."""

    hold: int
    counted: int
    skipped: int

    @classmethod
    def of(cls, outcomes: Iterable[RowResult]) -> RowCounts:
        """Count the outcomes."""
        judged = [each for each in outcomes if not each.check.informational]
        hold = sum(each.verdict is Verdict.HOLDS for each in judged)
        skipped = sum(each.verdict is Verdict.SKIPPED for each in judged)
        return cls(hold, len(judged) - skipped, skipped)

    def __str__(self) -> str:
        tried = f"{self.hold} of {self.counted} hold"
        return f"{tried}, {self.skipped} could not be tried" if self.skipped else tried


class Suite:
    """The check programs, compiled below ``cache``."""

    def __init__(self, cache: Path) -> None:
        self.programs = build(cache.absolute())

    def run(self, check: Check, library: Path | None = None, timeout: float = DEFAULT_TIMEOUT) -> RowResult:
        """Try one check on ``library``, or on the C library itself when it is None."""
        missing = self.programs / f"{check.program}.missing"
        if missing.exists():
            return RowResult(check, Verdict.SKIPPED, missing.read_text().strip())
        command = [str(self.programs / check.program), check.id]
        if library:
            command.append(_preloadable(library))
        started = time.monotonic()
        status, reason = _execute(command, _environment(library), timeout)
        verdict, reason = _judge(status, reason)
        return RowResult(check, verdict, reason, time.monotonic() - started)

    def run_all(
        self,
        library: Path | None = None,
        jobs: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Iterator[RowResult]:
        """Try every check, ``jobs`` at a time; the outcomes come in the order of the table."""
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            yield from pool.map(lambda check: self.run(check, library, timeout), checks())


def _preloadable(library: Path) -> str:
    path = str(library.absolute())
    if not library.is_file():
        raise FileNotFoundError(f"there is no library {path}")
    if set(path) & set(" :"):
        raise ValueError(f"LD_PRELOAD cannot name a path with a space or a colon: {path!r}")
    return path


def _environment(library: Path | None) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name not in _OTHERS_INFLUENCE}
    preload = {"LD_PRELOAD": _preloadable(library)} if library else {}
    return {**kept, **preload, "LC_ALL": "C"}


def _execute(command: list[str], environment: dict[str, str], timeout: float) -> tuple[int | None, str]:
    """Return the exit status (None if the program did not end in time) and the last line that it wrote.

    The output goes to a file, not a pipe, because a child that hangs would keep a pipe open.
    """
    with tempfile.TemporaryFile() as written:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=written,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return status, _last_line(written)


def _last_line(written: IO[bytes]) -> str:
    written.seek(0)
    lines = written.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _judge(status: int | None, said: str) -> tuple[Verdict, str]:
    """The verdict on an exit status, and the reason: the program's message, and the signal or status that ended it."""
    if status == _HOLDS:
        return Verdict.HOLDS, said
    if status == _CANNOT_TRY:
        return Verdict.SKIPPED, said
    ending = _ending(status)
    return Verdict.FAILS, ": ".join(each for each in (ending, said) if each) or "it gave no reason"


def _ending(status: int | None) -> str:
    """How the program ended; nothing if it ended by itself and reports a failed check."""
    if status is None or status == -signal.SIGALRM:
        return "it did not end in time"
    if status < 0:
        return _signal_name(-status)
    return "" if status == _FAILS else f"exit status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no name
        return f"signal {number}"
