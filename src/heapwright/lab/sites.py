"""The call stacks of a recording, while it is made: numbers at first, which are explained when the run is over.

To look up a function in a large program takes seconds, and the program would have to wait. So the events get numbers of
their own, which no two processes share, and the trace says at its end which stack each of them is.
"""

from __future__ import annotations

import gc
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heapwright.native.library import cache
from heapwright.traces.arrays import I64, U32, np
from heapwright.traces.stacks import UNKNOWN, Stacks, as_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heapwright.traces.explained import Explained

UNEXPLAINED = "requests without a call stack: its records are missing"


class Sites:
    """The sites of a trace. Processes are named by their numbers in the recording."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth  # frames of a stack that are kept; 0: all that are recorded
        self._explained: dict[int, Explained] = {}
        self._numbers: dict[int, U32] = {}  # for each process, the site of each of its own numbers; 0 for none so far
        self._count = 1  # of sites, with 0
        self._requests: I64 | None = None  # of each site; None before the first

    def explain(self, process: int, records: NDArray[Any]) -> None:
        """Take in records that explain call stacks of a process."""
        self._explained_by(process).add(records)

    def _explained_by(self, process: int) -> Explained:
        """What a process recorded. The import waits for it, because most recordings have no call stacks."""
        from heapwright.traces.explained import Explained

        return self._explained.setdefault(process, Explained())

    def of(self, process: int, numbers: U32) -> U32:
        """The sites for a process's own numbers. A number that no recorder gives is damage, and has no site."""
        from heapwright.traces.explained import MAX_STACKS

        numbers = np.where(numbers < MAX_STACKS, numbers, np.uint32(0))
        if not numbers.any():
            return numbers
        known = self._numbers.get(process, np.zeros(1, np.uint32))
        if (lacking := int(numbers.max()) + 1 - len(known)) > 0:
            known = self._numbers[process] = np.append(known, np.zeros(max(lacking, len(known)), np.uint32))
        fresh = np.unique(numbers[(known[numbers] == 0) & (numbers != 0)])
        known[fresh] = self._count + np.arange(len(fresh))
        self._count += len(fresh)
        sites: U32 = known[numbers]
        counts = np.bincount(sites, minlength=self._count)
        if self._requests is not None:
            counts[: len(self._requests)] += self._requests
        self._requests = counts
        return sites

    def stacks(self, parents: Mapping[int, int]) -> tuple[Stacks, array[int], dict[int, Counter[str]]]:
        """The stacks, the stack of each site, and notes about the processes. `parents` has those that were forked."""
        if self._requests is None:
            return Stacks(), as_numbers(()), {}
        gc.disable()  # what is made here stays, and there is much of it to look through
        try:
            return self._stacks(parents, self._requests)
        finally:
            gc.enable()

    def _stacks(self, parents: Mapping[int, int], requests: I64) -> tuple[Stacks, array[int], dict[int, Counter[str]]]:
        from heapwright.traces.call_sites import translate
        from heapwright.traces.symbol_cache import SymbolCache
        from heapwright.traces.symbols import Symbols

        numbers = {process: np.flatnonzero(self._numbers[process]).astype("u4") for process in sorted(self._numbers)}
        asked = [(self._explanations(process, parents), each) for process, each in numbers.items()]
        stacks, translated = translate(asked, Symbols(kept=SymbolCache(cache() / "symbols")).frames, self._depth)
        found = np.full(self._count, UNKNOWN, "u4")
        notes: dict[int, Counter[str]] = {}
        for (process, each), stack in zip(numbers.items(), translated, strict=True):
            sites = self._numbers[process][each]
            found[sites] = stack
            lacking = int(requests[sites[stack == UNKNOWN]].sum())
            notes[process] = Counter({UNEXPLAINED: lacking} if lacking else {})
        return stacks, as_numbers(found), notes

    def _explanations(self, process: int, parents: Mapping[int, int]) -> Explained:
        """What explains a process's numbers: its own records, and those of the processes that it was forked from."""
        mine = self._explained_by(process)
        child = mine
        while process in parents:
            process = parents[process]
            child.parent = self._explained_by(process)
            child = child.parent
        return mine
