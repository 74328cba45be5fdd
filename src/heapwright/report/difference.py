"""Two recordings as one tree of call stacks, from main down: what each node has now, and what it had before.

Nodes are the same if their functions have the same names in the same files, and so have all their callers.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from heapwright.report.against import MEASURES, values_of
from heapwright.report.callers import short_name, title
from heapwright.report.profile import Profile
from heapwright.traces.arrays import I64, Mask, np

MAX_NODES = 3000  # the others count as their callers
ROOT = 0

Own = dict[str, list[I64]]  # for each measure, bytes of each node by itself: now, and before


class Nodes:
    """The nodes: for each its caller's number, which is lower, and its name."""

    def __init__(self) -> None:
        self.parents, self.names = [ROOT], ["all"]
        self._numbers: dict[tuple[int, str], int] = {}

    def __len__(self) -> int:
        return len(self.parents)

    def of(self, profile: Profile) -> I64:
        """The node of each call stack of a recording."""
        stacks = profile.callers.stacks
        names = [title(frame._replace(line=0)) for frame in stacks.frames]
        found = [ROOT]
        for parent, frame in zip(stacks.parents[1:], stacks.innermost[1:], strict=True):
            found.append(self._under(found[parent], names[frame]))
        return np.array(found, np.int64)

    def _under(self, parent: int, name: str) -> int:
        number = self._numbers.setdefault((parent, name), len(self.parents))
        if number == len(self.parents):
            self.parents.append(parent)
            self.names.append(name)
        return number

    def add_to_callers(self, values: I64, which: Mask | None = None) -> None:
        """Add the value of each node, or of those chosen, to its caller's: those of its callees are in it already."""
        for node in range(len(self) - 1, ROOT, -1):
            if which is None or which[node]:
                values[self.parents[node]] += values[node]


def difference(now: Profile, before: Profile) -> dict[str, Any]:
    """The tree: for each node its name, its caller's place, and by measure its own bytes now and before."""
    nodes = Nodes()
    pairs = [(each, nodes.of(each)) for each in (now, before)]
    own = {measure: [summed(values_of(each, measure), at, len(nodes)) for each, at in pairs] for measure in MEASURES}
    kept = largest(nodes, own)
    for values in chain(*own.values()):
        nodes.add_to_callers(values, ~kept)
    numbers, places = np.flatnonzero(kept).tolist(), np.cumsum(kept) - 1
    return {
        "names": [short_name(nodes.names[node]) for node in numbers],
        "parents": [int(places[nodes.parents[node]]) for node in numbers],
        "own": {measure: [values[kept].tolist() for values in pair] for measure, pair in own.items()},
    }


def summed(values: I64, nodes: I64, count: int) -> I64:
    """Values of call stacks, summed by node."""
    sums = np.zeros(count, np.int64)
    length = min(len(values), len(nodes))
    np.add.at(sums, nodes[:length], values[:length])
    return sums


def largest(nodes: Nodes, own: Own) -> Mask:
    """Which nodes are kept: those with the largest shares of any measure, now or before, and their callers."""
    shares = np.zeros(len(nodes))
    for values in chain(*own.values()):
        whole = values.copy()
        nodes.add_to_callers(whole)
        shares = np.maximum(shares, whole / max(int(whole[ROOT]), 1))
    limit = np.sort(shares)[::-1][MAX_NODES] if len(nodes) > MAX_NODES else 0.0
    kept: Mask = shares > limit
    kept[ROOT] = True
    return kept
