"""Write traces: `.hwt`, and for other tools. The name of the file says the format.

All other formats hold less than a trace does. Each writer returns what it left out or changed, counted by sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from heapwright.traces import format
from heapwright.traces.calls import note
from heapwright.traces.events import Trace, TraceError
from heapwright.traces.exporters import android, folded, perfetto, pprof, rep, speedscope, table
from heapwright.traces.exporters.usage import PEAK_BYTES
from heapwright.traces.sampling import require_all

SUFFIXES = {
    format.SUFFIX: "hwt",
    ".rep": "rep",
    ".txt": "android",
    ".zip": "android",
    ".pb.gz": "pprof",
    ".speedscope.json": "speedscope",
    ".folded": "folded",
    ".pftrace": "perfetto",
    ".parquet": "parquet",
    ".csv": "csv",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
WHOLE: dict[str, Callable[[Path, Trace], Counter[str]]] = {
    "pprof": pprof.write,
    "speedscope": speedscope.write,
    "perfetto": perfetto.write,
    "parquet": table.write_parquet,
    "csv": table.write_csv,
}
ONE_PROCESS = ("rep", "android")
PROCESSES = "smaller processes, left out"


def format_of(path: Path) -> str:
    """The format that the file's name asks for. Raises TraceError if the name has no known ending."""
    for suffix, name in SUFFIXES.items():
        if path.name.endswith(suffix):
            return name
    known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
    raise TraceError(f"{path}: the name says no format: end it with {known}, or give --to")


def write_as(name: str, path: Path, trace: Trace, *, balanced: bool = False, measure: str = PEAK_BYTES) -> Counter[str]:
    """Write a trace in one of the FORMATS; `balanced` applies to `.rep`, `measure` to folded stacks.

    Raises TraceError if the trace has no events, which other formats cannot express, and UserError if the file cannot
    be written.
    """
    if not any(len(process.events) for process in trace.processes):
        raise TraceError(f"{path}: not written: the trace has no events")
    if name == "hwt":
        format.write(path, trace)
        return Counter()
    if name in WHOLE:
        return WHOLE[name](path, trace)
    if name == "folded":
        return folded.write(path, trace, measure)
    events = require_all(trace, path).largest.events
    notes = rep.write(path, events, balanced) if name == "rep" else android.write(path, events)
    note(notes, PROCESSES, len(trace.processes) - 1)
    return notes
