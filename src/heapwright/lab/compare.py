"""Several mallocs on several traces. Repeats are interleaved; times are medians with their spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from statistics import median
from typing import TYPE_CHECKING, Any

from heapwright.errors import UserError
from heapwright.lab.cells import Cell, Done, Place, Results, Table, measure
from heapwright.lab.sample import spread

if TYPE_CHECKING:
    from heapwright.lab.latency import Latencies
    from heapwright.lab.replay import Replayed
    from heapwright.traces.events import Summary

INTERRUPTED = "was interrupted before its first repeat ended"


class CompareError(UserError):
    """A replay that crashed or hung. Its text is one line with the malloc and the reason."""


@dataclass
class Figures:
    """The figures of one malloc on one trace, over all repeats."""

    allocator: str
    done: dict[int, Done] = field(default_factory=dict)  # by repeat
    error: str = ""  # why there are no figures

    @property
    def replays(self) -> list[Replayed]:
        return [each.replayed for each in self.done.values()]

    @property
    def seconds(self) -> float:
        """Of a warm round: the median of the repeats' medians."""
        return median(map(warm, self.replays))

    @property
    def latencies(self) -> Latencies | None:
        """Of all repeats."""
        found = [each.latencies for each in self.replays if each.latencies]
        return reduce(add, found) if found else None

    def times_as_json(self) -> dict[str, Any]:
        cold_times = list(map(cold, self.replays))
        faults = median(each.cold.page_faults for each in self.replays)
        return {
            "seconds": self.seconds,
            "spread": spread([warm(each) for each in self.replays]),
            "cold": {"seconds": median(cold_times), "spread": spread(cold_times), "page_faults": int(faults)},
        }

    def as_json(self, summary: Summary, reference: Figures | None = None) -> dict[str, Any]:
        """All figures; if it failed, the error alone. `reference` is what the times are compared with."""
        if self.error:
            return {"allocator": self.allocator, "error": self.error}
        heap, last, latencies = max(each.heap_bytes for each in self.replays), self.replays[-1], self.latencies
        is_utilized = heap and not last.failures  # refused blocks are never live
        return {
            "allocator": self.allocator,
            "error": None,
            **self.times_as_json(),
            "to_system": ratios(self, reference) if reference else None,
            "hosts": sorted({each.host for each in self.done.values()}),
            "events_per_second": summary.events / self.seconds,
            "peak_heap_bytes": heap or None,
            "peak_resident_bytes": int(median(each.resident_bytes for each in self.replays)),
            "utilization": summary.peak_live_bytes / heap if is_utilized else None,
            "failures": last.failures,
            "memory": last.memory.as_json(),
            "latency": latencies.as_json() if latencies else None,
        }


def warm(replayed: Replayed) -> float:
    return median(replayed.seconds)


def cold(replayed: Replayed) -> float:
    return replayed.cold.seconds


def ratios(figures: Figures, reference: Figures) -> dict[str, Any] | None:
    """The times divided by those of the reference in the same repeat, on the same machine; None if there are none."""
    both = [(figures.done[each], reference.done[each]) for each in figures.done if each in reference.done]
    pairs = [(mine.replayed, its.replayed) for mine, its in both if mine.host == its.host]
    found: dict[str, Any] = {"repeats": len(pairs)}
    for name, time in (("warm", warm), ("cold", cold)):
        each = [time(mine) / time(its) for mine, its in pairs if time(its)]
        if not each:
            return None
        found[name] = {"ratio": median(each), "spread": spread(each)}
    return found


@dataclass
class Comparison:
    """For each trace the figures of each malloc, in the order in which they were given."""

    tables: list[list[Figures]]
    reference: int | None  # the place of the C library's malloc, as it is, among the mallocs
    was_interrupted: bool

    def results(self, trace: int, summary: Summary) -> list[dict[str, Any]]:
        """The figures of one trace as plain data."""
        table = self.tables[trace]
        reference = None if self.reference is None else table[self.reference]
        return [each.as_json(summary, reference) for each in table]


def compare(table: Table, place: Place, progress: Callable[[Cell], None]) -> Comparison:
    """Replay all cells of a table, which run at a place. `progress` gets each cell.

    Raises KeyboardInterrupt if an interrupt comes before the first cell is done.
    """
    found, mallocs = measure(table, place, progress), list(enumerate(table.mallocs))
    if found.was_interrupted and not found.done:
        raise KeyboardInterrupt
    tables = [
        [figures(found, trace, each, malloc.name) for each, malloc in mallocs] for trace in range(len(table.flats))
    ]
    plain = [each for each, malloc in mallocs if malloc.library is None and not malloc.settings]
    return Comparison(tables, plain[0] if plain else None, found.was_interrupted)


def figures(found: Results, trace: int, malloc: int, name: str) -> Figures:
    """The figures of one malloc on one trace, its repeats in order."""
    done = {cell.repeat: found.done[cell] for cell in sorted(found.done) if cell.pair == (trace, malloc)}
    return Figures(name, done, found.failed.get((trace, malloc), "" if done else INTERRUPTED))
