"""Tables of events, for pandas, DuckDB and spreadsheets: CSV and Parquet with the same columns.

    process  pid  thread  op  failed  inherited  block  size  count  align  time_us  site  stack

`block` is empty where an event has none, and `stack` where the call stack is unknown; it has the functions as in folded
stacks, outermost first. `align` is in bytes, 0 if none was asked for.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heapwright.errors import UserError
from heapwright.files import written_whole
from heapwright.traces.arrays import np
from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, INHERITED, NONE, REALLOC, THREAD_EXIT, Events, Trace
from heapwright.traces.exporters.folded import functions
from heapwright.traces.format import CHUNK_EVENTS
from heapwright.traces.stacks import UNKNOWN

OPERATIONS = {
    ALLOC: "alloc",
    ALLOC_ZEROED: "alloc_zeroed",
    REALLOC: "realloc",
    DEALLOC: "dealloc",
    THREAD_EXIT: "thread_exit",
}
NO_FACTS = "processes, of which only the PID is kept"
PLACES = "call stacks, whose files and lines are left out"


def write_csv(path: Path, trace: Trace) -> Counter[str]:
    """Write a line for each event of all processes, after a line with the names of the columns."""
    names = StackNames(trace)
    with written_whole(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        for place, columns in enumerate(parts(trace)):
            site = columns["site"].tolist()
            lists = {name: column.tolist() for name, column in columns.items()}
            lists["op"] = [OPERATIONS[op] for op in lists["op"]]
            lists["block"] = ["" if block == NONE else block for block in lists["block"]]
            lists["stack"] = [names[each] for each in site]
            if not place:
                writer.writerow(lists)
            writer.writerows(zip(*lists.values(), strict=True))
        text.flush()
        text.detach()
    return losses(trace)


def write_parquet(path: Path, trace: Trace) -> Counter[str]:
    """Write a row for each event of all processes. Raises UserError if pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{path}: to write Parquet, install pyarrow: pip install 'heapwright[parquet]'") from None
    names = StackNames(trace)
    with written_whole(path) as file:
        writer = None
        for columns in parts(trace):
            table = as_arrow(pyarrow, columns, names)
            writer = writer or parquet.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
        if writer:
            writer.close()
    return losses(trace)


def as_arrow(pyarrow: Any, columns: dict[str, Any], names: StackNames) -> Any:
    """A table with texts as dictionaries, so that each call stack is stored once."""
    block, op = columns["block"], columns["op"]
    sites, which = np.unique(columns["site"], return_inverse=True)
    ops = pyarrow.DictionaryArray.from_arrays(pyarrow.array(op - 1, "int8"), list(OPERATIONS.values()))
    texts = pyarrow.array([names[site] for site in sites.tolist()], "string")
    unknown = columns["site"] == UNKNOWN
    stacks = pyarrow.DictionaryArray.from_arrays(pyarrow.array(which.astype("i4"), mask=unknown), texts)
    changed = {"op": ops, "block": pyarrow.array(block, mask=block == NONE)}
    arrays = {name: changed.get(name, column) for name, column in columns.items()}
    return pyarrow.table(arrays | {"stack": stacks})


def parts(trace: Trace) -> Iterator[dict[str, Any]]:
    """The columns of the events of all processes, some events at a time."""
    for number, process in enumerate(trace.processes):
        for first in range(0, len(process.events), CHUNK_EVENTS):
            yield columns_of(process.events[first : first + CHUNK_EVENTS], number, process.pid)


def columns_of(events: Events, process: int, pid: int) -> dict[str, Any]:
    return {
        "process": np.full(len(events), process, "i4"),
        "pid": np.full(len(events), pid, "i8"),
        "thread": events.thread,
        "op": events.op,
        "failed": events.failed,
        "inherited": (events.flags & INHERITED) != 0,
        "block": events.block,
        "size": events.size,
        "count": events.count,
        "align": np.where(events.log2_align > 0, np.uint64(1) << events.log2_align.astype(np.uint64), np.uint64(0)),
        "time_us": events.time,
        "site": events.site,
    }


class StackNames:
    """The text of each call stack, made when it is first asked for."""

    def __init__(self, trace: Trace):
        self.stacks = trace.stacks
        self.texts: dict[int, str] = {UNKNOWN: ""}

    def __getitem__(self, site: int) -> str:
        if site not in self.texts:
            self.texts[site] = ";".join(functions(self.stacks, site))
        return self.texts[site]


def losses(trace: Trace) -> Counter[str]:
    notes: Counter[str] = Counter()
    note(notes, NO_FACTS, len(trace.processes))
    note(notes, PLACES, len(trace.stacks) - 1)
    return notes
