"""Inspect a process or a core file, and walk its heap with compiled code if that saves time."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from heapwright.live.core import Core
from heapwright.live.errors import InspectError
from heapwright.live.extent import Numbers
from heapwright.live.findings import Look, Options
from heapwright.live.glibc import chunks
from heapwright.live.glibc.walk import interpreted
from heapwright.live.look import look_at
from heapwright.live.process import Process, processes_named
from heapwright.live.references import leaked
from heapwright.live.report import report_of
from heapwright.live.source import Octets, Source
from heapwright.live.verdict import judge
from heapwright.native.library import functions_library, has_functions_library, opened
from heapwright.native.own_sources import BuildError

LARGE = 256 << 20  # bytes of a heap in one piece


def source_of(target: str) -> Source:
    """The process with this PID, the core file at this path, or the only process with this command name."""
    if target.isdigit():
        return Process(int(target))
    found = [] if "/" in target else processes_named(target)
    if not found and ("/" in target or Path(target).is_file()):
        return Core(Path(target))
    if not found:
        raise InspectError(f"there is no process named '{target}', and no file: give a number, a name or a core file")
    if len(found) > 1:
        numbers = ", ".join(map(str, found[:10]))
        raise InspectError(f"{len(found)} processes are named '{target}': give the number of one ({numbers})")
    return Process(found[0])


class FastWalker:
    """The walk over a copied heap. It is compiled if it is cached, or if the heap is so large that compiling pays."""

    def __init__(self) -> None:
        self._note_chunks: Any = None

    def __call__(self, data: Octets, start: int, end: int, notes: Numbers) -> int:
        if self._note_chunks is None and not self._compile(end - start):
            return interpreted(data, start, end, notes)
        base = data.ctypes.data
        count: int = self._note_chunks(base + start, base + end, notes.ctypes.data, len(notes))
        notes[:count] -= base
        return count

    def _compile(self, size: int) -> bool:
        """Load the library if it is cached, or compile it if the heap is so large that this pays."""
        try:
            if size < LARGE and not has_functions_library(chunks):
                return False
            function = opened(functions_library(chunks)).note_chunks
        except (BuildError, OSError):  # no linker, or somebody else's cache
            return False
        function.argtypes, function.restype = [ctypes.c_long] * 4, ctypes.c_long
        self._note_chunks = function
        return True


def inspect(target: int | str | Path, options: Options | None = None) -> Look:
    """Look once at a process or a core: its parts, blocks and pins, as objects and arrays."""
    return look_at(source_of(str(target)), FastWalker(), options)


def look_for_leaks(look: Look) -> Look:
    """Find the blocks that nothing points to. The look must have copied all data."""
    look.leaks = leaked(look, look.data)
    return look


def reports(
    source: Source,
    options: Options,
    every: float = 0.0,
    seconds: float = 0.0,
    earlier: Iterable[dict[str, Any]] = (),
    leaks: bool = False,
) -> Iterator[tuple[Look, dict[str, Any]]]:
    """Look once, or at fixed intervals until the time is over. Yields each look with a verdict on all looks so far."""
    begin, found, looks = time.monotonic(), list(earlier), 0
    while True:
        try:
            look = look_at(source, FastWalker(), options)
        except InspectError:
            if looks:
                return  # the process has ended; the looks so far remain
            raise
        if leaks:
            look_for_leaks(look)
        looks += 1
        found.append(report_of(look))
        yield look, judged(found)
        following = begin + looks * every
        if not every or following > begin + seconds:
            return
        time.sleep(max(0.0, following - time.monotonic()))


def judged(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The last report, with the verdict on all of them. Raises InspectError if one is of another program."""
    report = found[-1]
    others = {each["name"] for each in found} - {report["name"]}
    if others:
        raise InspectError(
            f"the earlier report is of {others.pop()}, not of {report['name']}: compare looks at one program"
        )
    verdict = judge(found)
    if verdict is None:
        return report
    history = [{name: each[name] for name in ("time", "resident_bytes")} for each in found]
    said = {"verdict": verdict.word, "reason": verdict.reason, "grown": verdict.grown, "history": history}
    return {**report, **said}
