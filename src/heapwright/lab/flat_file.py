"""Flat events in a file of their own, which every replay reads, and what a replay must know of them before it starts.

The file is written chunk by chunk, so a trace need not fit into memory. It takes 24 bytes for each event.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.errors import UserError
from heapwright.lab.memory import Lows
from heapwright.traces.events import ALLOC_ZEROED, REALLOC, TraceError
from heapwright.traces.flat import FlatEvent, Flattener
from heapwright.wording import size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heapwright.traces.arrays import I64
    from heapwright.traces.events import Events
    from heapwright.traces.flat import Flat

ALWAYS = ("malloc", "free")  # what a replay calls whatever its events
SPARE = 64 << 20  # bytes to leave free on the disk
REMEDY = "set TMPDIR to a folder with room, or cut the trace (`heapwright trace cut`)"


@dataclass(frozen=True)
class FlatFile:
    """Flat events in a file, without a header."""

    path: Path
    events: int
    slots: int
    peak: int  # the number of events until the most bytes are live
    moments: tuple[int, ...]  # to look at memory, in events done
    functions: tuple[str, ...]  # of malloc's, that the events call

    def __len__(self) -> int:
        return self.events


@contextmanager
def flat_file_of(flat: Flat) -> Iterator[FlatFile]:
    """Flat events that are in memory, in a file that is there inside the context."""
    survey = Survey(len(flat))
    survey.take(flat.records, flat.live)
    with scratch_file() as path:
        written(path, flat.records)
        yield survey.facts(path, flat.slots)


@contextmanager
def flattened(
    chunks: Iterable[Events], events: int, progress: Callable[[int], None] = lambda done: None
) -> Iterator[FlatFile]:
    """The flat events of a whole process, in a file that is there inside the context.

    `events` is the number of those that did not fail. `progress` gets the number of events done. Raises TraceError if
    the chunks have more or fewer, and UserError if there is no room for the file.
    """
    flattener, survey = Flattener(), Survey(events)
    with scratch_file() as path:
        require_room(path.parent, events * FlatEvent.SIZE)
        for chunk in chunks:
            records, live = flattener.take(chunk)
            survey.take(records, live)
            written(path, records)
            progress(survey.done)
        if survey.done != events:
            raise TraceError(f"the trace has {survey.done:,} events to replay, and its header says {events:,}")
        yield survey.facts(path, flattener.slots)


class Survey:
    """What a replay must know of its events, gathered chunk by chunk. `events` is their number."""

    def __init__(self, events: int):
        self.done = 0
        self._lows = Lows(events)
        self._most, self._peak = 0, 0
        self._functions = set(ALWAYS)

    def take(self, records: NDArray[Any], live: I64) -> None:
        """Look at the next events."""
        most = int(live.max(initial=0))
        if len(live) and most >= self._most:
            self._most, self._peak = most, self.done + len(live) - int(live[::-1].argmax())
        self._lows.take(live)
        self._functions.update(functions_of(records))
        self.done += len(records)

    def facts(self, path: Path, slots: int) -> FlatFile:
        """The events in a file, when all were looked at."""
        moments = sorted(self._lows.moments | {self._peak, self.done})
        return FlatFile(path, self.done, slots, self._peak, tuple(moments), tuple(sorted(self._functions)))


def functions_of(records: NDArray[Any]) -> list[str]:
    """The names of the malloc functions that flat events call."""
    op, log2_align = records["op"], records["log2_align"]
    is_called = {"calloc": op == ALLOC_ZEROED, "realloc": op == REALLOC, "memalign": log2_align > 0}
    return [*ALWAYS, *(name for name, events in is_called.items() if events.any())]


# --- the file


def require_room(folder: Path, size_of_file: int) -> None:
    """Raise UserError unless a file of so many bytes fits on the disk."""
    free = shutil.disk_usage(folder).free
    if size_of_file + SPARE > free:
        what = f"{folder.parent}: the flat events of the trace take {size(size_of_file)}, and {size(free)} are free"
        raise UserError(f"{what}; {REMEDY}")


@contextmanager
def scratch_file() -> Iterator[Path]:
    """A path in a folder of its own that is there inside the context."""
    with tempfile.TemporaryDirectory(prefix="heapwright-", ignore_cleanup_errors=True) as folder:
        yield Path(folder, "events")


def written(path: Path, records: NDArray[Any]) -> None:
    """Append records to a file. Raises UserError if that fails."""
    try:
        with path.open("ab") as file:
            file.write(records.data)
    except OSError as error:
        what = f"{path.parent.parent}: the flat events of the trace cannot be written: {error.strerror}"
        raise UserError(f"{what}; {REMEDY}") from error
