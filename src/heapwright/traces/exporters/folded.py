"""Folded stacks: `main;parse;malloc_wrapper 4096`, one line for each call stack, as flame graph programs read them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from heapwright.traces.events import Trace, TraceError
from heapwright.traces.exporters.text import write_lines
from heapwright.traces.exporters.usage import MEASURES, frames_of, losses, measures, named
from heapwright.traces.stacks import Stacks

ONE_MEASURE = "measures that the file leaves out; choose another one with --measure"


def write(path: Path, trace: Trace, measure: str) -> Counter[str]:
    """Write one of the MEASURES by call stack. Several processes are the outermost frames."""
    lines: Counter[str] = Counter()
    processes = list(named(trace))
    for name, process in processes:
        rows, values = measures(process)
        for site, value in zip(rows.site.tolist(), values[measure].tolist(), strict=True):
            outer = [name] if len(processes) > 1 else []
            lines[";".join([*map(plain, outer), *functions(trace.stacks, site)])] += value
    if not any(lines.values()):
        raise TraceError(f"{path}: not written: its {measure} are all 0; choose another measure")
    write_lines(path, (f"{stack} {value}" for stack, value in sorted(lines.items()) if value))
    return losses(trace) + Counter({ONE_MEASURE: len(MEASURES) - 1})


def functions(stacks: Stacks, site: int) -> list[str]:
    """The functions of a stack, outermost first, as the format can hold them."""
    return [plain(frame.function) for frame in reversed(frames_of(stacks, site))]


def plain(name: str) -> str:
    return " ".join(name.replace(";", ":").split()) or "?"
