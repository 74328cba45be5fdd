"""Several mallocs on workloads and programs, in fresh processes. Repeats are interleaved; every figure is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from heapwright.lab.contestant import Contestant
from heapwright.lab.programs import PreparedProgram
from heapwright.lab.sample import RunError, Sample
from heapwright.lab.share import Share


class Row(Protocol):
    """What is measured: a workload with its number of threads, or a program with its inputs. A run has a time limit."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def timeout(self) -> float: ...

    def parameters(self) -> dict[str, Any]: ...
    def run(self, contestant: Contestant, timeout: float, repeat: int) -> Sample: ...


@dataclass
class Cell:
    """One malloc on one row: its samples, the error if a run failed, and malloc's share of a program's time."""

    samples: list[Sample] = field(default_factory=list)
    error: str = ""
    share: Share | None = None  # malloc's, of the processor time, if it was measured
    share_error: str = ""


@dataclass
class Measured:
    """One row and its cells, by the mallocs' names."""

    row: Row
    cells: dict[str, Cell]


def empty_table(rows: Iterable[Row], contestants: Sequence[Contestant]) -> list[Measured]:
    """A table of empty cells."""
    return [Measured(row, {each.name: Cell() for each in contestants}) for row in rows]


def bench(
    table: list[Measured], contestants: Sequence[Contestant], repeats: int, progress: Callable[[str], None]
) -> None:
    """Measure each row on each malloc in turn, and repeat the whole `repeats` times. A failed cell is not tried again.

    If this is interrupted, the table holds what was measured so far.
    """
    for repeat in range(repeats):
        for measured in table:
            for each in turned(contestants, repeat):
                progress(f"repeat {repeat + 1} of {repeats}: {measured.row.title}, {each.name}")
                measure(measured.row, each, measured.cells[each.name], repeat)


def measure_shares(table: list[Measured], contestants: Sequence[Contestant], progress: Callable[[str], None]) -> None:
    """Run each program once on each malloc for malloc's share of its time. Workloads have none.

    A failure costs the share alone.
    """
    for measured in table:
        for each in contestants:
            cell = measured.cells[each.name]
            if isinstance(measured.row, PreparedProgram):
                progress(f"malloc's share: {measured.row.title}, {each.name}")
                try:
                    cell.share = measured.row.share(each)
                except RunError as error:
                    cell.share_error = str(error)


def turned(contestants: Sequence[Contestant], repeat: int) -> list[Contestant]:
    """The mallocs, rotated by one for each repeat, so that none always follows a certain other."""
    first = repeat % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def measure(row: Row, contestant: Contestant, cell: Cell, repeat: int) -> None:
    if cell.error:
        return
    try:
        cell.samples.append(row.run(contestant, row.timeout, repeat))
    except RunError as error:
        cell.error = str(error)
