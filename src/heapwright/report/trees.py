"""Values of call stacks as trees: top-down from the outermost frame, bottom-up from the innermost one.

Only what is worth a line becomes a node: a node whose value is too small is left out with all below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heapwright.report.callers import title
from heapwright.traces.arrays import I64, U32, Mask, np
from heapwright.traces.stacks import UNKNOWN, Stacks

MIN_SHARE = 0.01  # of the whole: a smaller node has no line
MAX_DEPTH = 150  # a deeper node counts as its parent's own


@dataclass
class Node:
    """A frame, what is asked for in it and below it, and what by itself: without a frame below it."""

    frame: int  # -1 for the root
    value: int
    own: int = 0
    children: list[Node] = field(default_factory=list)

    def as_json(self, stacks: Stacks) -> dict[str, Any]:
        name = title(stacks.frames[self.frame]) if self.frame >= 0 else "all"
        children = [child.as_json(stacks) for child in self.children]
        return {"name": name, "value": self.value, "own": self.own, "children": children}


def inclusive(stacks: Stacks, values: I64) -> list[int]:
    """For each stack, its value and those of all stacks that it calls."""
    sums: list[int] = np.pad(values, (0, max(0, len(stacks) - len(values)))).tolist()
    for number in range(len(sums) - 1, UNKNOWN, -1):
        sums[stacks.parents[number]] += sums[number]
    return sums


def top_down(stacks: Stacks, values: I64, min_share: float = MIN_SHARE) -> Node:
    """The tree whose root's children are the programs' entries."""
    sums = inclusive(stacks, values)
    least = max(1, min_share * sums[UNKNOWN])
    nodes, depths = {UNKNOWN: Node(-1, sums[UNKNOWN])}, {UNKNOWN: 0}
    for number in range(1, len(stacks)):
        parent = stacks.parents[number]
        if sums[number] >= least and depths.get(parent, MAX_DEPTH) < MAX_DEPTH:
            depths[number] = depths[parent] + 1
            own = int(values[number]) if number < len(values) else 0
            own = sums[number] if depths[number] == MAX_DEPTH else own
            nodes[number] = Node(stacks.innermost[number], sums[number], own)
            nodes[parent].children.append(nodes[number])
    for node in nodes.values():
        node.children.sort(key=lambda child: -child.value)
    return nodes[UNKNOWN]


def bottom_up(stacks: Stacks, values: I64, min_share: float = MIN_SHARE) -> Node:
    """The tree whose root's children are the functions that called malloc; below each are its callers."""
    parents, innermost = stacks.columns()
    root = Node(-1, int(values.sum()))
    least = max(1, min_share * root.value)
    leaves = np.flatnonzero(values[: len(stacks)])
    leaves = leaves[leaves != UNKNOWN]
    waiting = [(root, leaves, values[leaves], 0)]
    while waiting:
        node, at, held, depth = waiting.pop()
        if depth == MAX_DEPTH:
            at, held = at[:0], held[:0]
        node.own = node.value - int(held.sum()) if node is not root else 0
        for frame, mine in by_frame(innermost[at]):
            value = int(held[mine].sum())
            if value >= least:
                child = Node(frame, value)
                node.children.append(child)
                callers = parents[at[mine]]
                waiting.append((child, callers[callers != UNKNOWN], held[mine][callers != UNKNOWN], depth + 1))
        node.children.sort(key=lambda child: -child.value)
    return root


def by_frame(frames: U32) -> list[tuple[int, Mask]]:
    """Each frame, and where it is."""
    return [(frame, frames == frame) for frame in np.unique(frames).tolist()]
