"""Placements: a block at an address, from the event that put it there up to the event that took it away.

A realloc ends a placement and starts the next one, perhaps at the same address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapwright.traces.arrays import I64, np
from heapwright.traces.events import DEALLOC

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = [
    ("address", "<i8"),
    ("size", "<i8"),  # requested bytes
    ("start", "<i8"),  # the event that put it there, counted from 0: no two placements share it
    ("end", "<i8"),  # the event that took it away; the number of all events if none did
    ("born", "<i8"),  # the event that allocated the block, before all reallocs
    ("thread", "<i4"),
    ("site", "<i4"),
]


@dataclass(frozen=True)
class Placements:
    """Some placements: a numpy record array with the fields of ROW."""

    rows: NDArray[Any]

    @classmethod
    def join(cls, parts: Sequence[Placements]) -> Placements:
        return cls(np.concatenate([np.zeros(0, ROW), *(part.rows for part in parts)]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Placements:
        return Placements(self.rows[which])

    def __getattr__(self, name: str) -> I64:
        column: I64 = self.rows[name]
        return column

    @property
    def surface(self) -> I64:
        """How much of a map each one covers: bytes times events."""
        surface: I64 = np.maximum(self.rows["size"], 1) * (self.rows["end"] - self.rows["start"])
        return surface

    def largest(self, count: int) -> Placements:
        """Those that cover most of a map, by their start. The same for each malloc, if none refuses a request."""
        if len(self) > count:
            return self[np.sort(np.lexsort((self.rows["start"], -self.surface))[:count])].by_start()
        return self.by_start()

    def by_start(self) -> Placements:
        return self[np.argsort(self.rows["start"], kind="stable")]


class Tenants:
    """The placements that have not ended, by slot. `advance` takes the events of a replay window by window."""

    def __init__(self, slots: int):
        self._rows = np.zeros(slots, ROW)
        self._done = 0

    @property
    def live(self) -> Placements:
        """The blocks that are live now, by address."""
        rows = self._rows[self._rows["address"] != 0]
        return Placements(rows[np.argsort(rows["address"])])

    def advance(self, records: NDArray[Any], addresses: I64, sites: Any) -> Placements:
        """The placements that end with these events."""
        numbers = np.flatnonzero(addresses)
        slots = records["slot"][numbers].astype(np.int64)
        fresh = np.zeros(len(numbers), ROW)
        fresh["address"], fresh["size"] = addresses[numbers], records["size"][numbers]
        fresh["start"] = fresh["born"] = self._done + numbers
        fresh["thread"], fresh["site"] = records["thread"][numbers], sites[numbers]
        self._done += len(records)
        return self._replace(slots, fresh, records["op"][numbers] == DEALLOC)

    def finish(self) -> Placements:
        """The placements that never end."""
        rows = self._rows[self._rows["address"] != 0].copy()
        rows["end"] = self._done
        return Placements(rows)

    def _replace(self, slots: I64, fresh: NDArray[Any], dies: Any) -> Placements:
        """Chain each slot's placements, its present one first. Returns those that another event ends."""
        touched = np.unique(slots)
        touched = touched[self._rows["address"][touched] != 0]
        slots = np.concatenate([touched, slots])
        rows = np.concatenate([self._rows[touched], fresh])
        order = np.argsort(slots, kind="stable")
        slots, rows = slots[order], rows[order]
        dies = np.concatenate([np.zeros(len(touched), bool), dies])[order]
        is_next = np.diff(slots, prepend=-1) == 0  # of the placement before it
        begins = ~is_next | np.append(False, dies[:-1])[: len(dies)]
        rows["born"] = rows["born"][np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0))]
        ends = np.flatnonzero(is_next & ~begins)
        ended = rows[ends - 1]
        ended["end"] = rows["start"][ends]
        last = np.append(~is_next[1:], True)[: len(rows)]
        rows["address"][dies] = 0
        self._rows[slots[last]] = rows[last]
        return Placements(ended)
