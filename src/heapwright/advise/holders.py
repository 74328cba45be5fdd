"""Whether live memory dominates the peak, and who asked for it: the figures of `heapwright report` on a recording."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heapwright.advise.candidates import Candidate
from heapwright.advise.commands import Program
from heapwright.files import written_whole
from heapwright.lab.collector import Collector, is_clock_common
from heapwright.lab.contestant import Contestant
from heapwright.lab.sample import RunError
from heapwright.native.clock import processor_clock
from heapwright.native.library import recorder_library
from heapwright.report.findings import findings
from heapwright.report.profile import Options, profile
from heapwright.report.source import chosen, open_source
from heapwright.traces.events import TraceError
from heapwright.traces.raw_stacks import USUAL_DEPTH, VARIABLE

TOP = 3  # callers to name
RECORDER = "recorder"


@dataclass(frozen=True)
class Holders:
    """The live bytes at the peak, and the functions (or sizes) that have most of them."""

    live_bytes: int
    has_call_sites: bool
    callers: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def holders_in(path: Path, which: str | None = None) -> Holders:
    """Who has the live memory of a recording at its peak."""
    with open_source(path) as source:
        number = chosen(source, which)[0]
        found = findings(profile(source, number, Options(1, None)), TOP, with_trees=False)
    callers = [{name: each[name] for name in ("name", "bytes", "blocks", "share")} for each in found["peak"]["callers"]]
    return Holders(found["peak"]["bytes"], found["has_call_sites"], callers)


def holders_of(program: Program) -> Holders | None:
    """Record one run of a program with its call stacks. None if it cannot be recorded."""
    with tempfile.TemporaryDirectory(prefix="heapwright-") as folder:
        path = Path(folder, "run.hwt")
        try:
            record(program, path, Path(folder))
            return holders_in(path)
        except (RunError, TraceError, OSError):
            return None


def record(program: Program, path: Path, folder: Path) -> None:
    is_root = os.geteuid() == 0
    ticks = processor_clock() if is_clock_common() else None
    with written_whole(path) as file:
        with Collector(folder, file, is_root, ticks, depth=USUAL_DEPTH) as collector:
            settings = (("HEAPWRIGHT_RECORD", str(collector.path)), (VARIABLE, str(USUAL_DEPTH)))
            program.measure(recorder(Contestant(RECORDER, recorder_library(), settings)))
        collector.complete()


def recorder(contestant: Contestant) -> Candidate:
    """The recorder, which runs under the program like a malloc."""
    return Candidate(RECORDER, RECORDER, RECORDER, steps=1, contestant=contestant)
