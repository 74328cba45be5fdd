"""A table of measurements as independent cells: one replay of a trace on a malloc, run on any executor.

    traces × mallocs × repeats      the order of submission: repeat, then trace, then malloc

The cells of one repeat of a trace run one after the other or side by side, so a load of the machine that changes slowly
meets all mallocs. Each cell starts fresh processes. One that crashes or hangs costs its malloc the figures on its
trace, and the rest of the table nothing.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from heapwright.lab.crew import CREWS, dismiss
from heapwright.lab.replay import Replayed, replay_file
from heapwright.lab.sample import RunError

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant
    from heapwright.lab.flat_file import FlatFile

MAX_ROUNDS = 50  # of a short trace, in one repeat


@dataclass(frozen=True, order=True)
class Cell:
    """A place in the table."""

    trace: int
    malloc: int
    repeat: int

    @property
    def pair(self) -> tuple[int, int]:
        return self.trace, self.malloc


@dataclass(frozen=True)
class Table:
    """What to measure: each trace on each malloc, `repeats` times."""

    flats: Sequence[FlatFile]
    mallocs: Sequence[Contestant]
    repeats: int
    times_calls: bool = False  # whether each replay ends with a pass that times each call separately

    def files(self) -> list[Path]:
        """The files that each place of a cell needs."""
        return [*(each.path for each in self.flats), *(each.library for each in self.mallocs if each.library)]

    def cells(self) -> Iterator[Cell]:
        """All cells in the order of their submission."""
        for repeat in range(self.repeats):
            for trace in range(len(self.flats)):
                for malloc in range(len(self.mallocs)):
                    yield Cell(trace, malloc, repeat)


@dataclass(frozen=True)
class Order:
    """What to replay: all that a process needs that may run on another machine."""

    run: str  # the name of the run
    flat: FlatFile
    contestant: Contestant
    times_calls: bool
    here: Callable[[Path], Path] = Path  # finds a file of the caller's where the cell runs


@dataclass(frozen=True)
class Done:
    """A replay, and the machine that it ran on."""

    replayed: Replayed
    host: str


class Place(Protocol):
    """Where cells run."""

    executor: Executor
    lost: tuple[type[Exception], ...]  # errors of a cell whose place is gone

    def prepare(self, files: Sequence[Path]) -> Callable[[Path], Path]:
        """Have files where the cells run. Returns the function that finds them there."""

    def dismiss(self, run: str) -> None:
        """Kill all processes of a run."""


@dataclass
class Results:
    """What was measured: the replays of each cell, and why a malloc has no figures on a trace."""

    done: dict[Cell, Done] = field(default_factory=dict)
    failed: dict[tuple[int, int], str] = field(default_factory=dict)  # by trace and malloc
    was_interrupted: bool = False


def carry_out(order: Order) -> Done:
    """Replay one cell. Raises RunError if that fails."""
    flat, malloc = order.flat, order.contestant
    there = replace(malloc, library=order.here(malloc.library) if malloc.library else None)
    found = replace(flat, path=order.here(flat.path))
    crew = CREWS[order.run]
    return Done(replay_file(found, there, MAX_ROUNDS, times_calls=order.times_calls, crew=crew), platform.node())


def measure(table: Table, place: Place, progress: Callable[[Cell], None]) -> Results:
    """Replay all cells of a table at a place. `progress` gets each cell when it is done.

    An interrupt ends all processes; the results are then those of the cells that were done.
    """
    run, results = secrets.token_hex(8), Results()
    here = place.prepare(table.files())
    placed = [each.with_its_environment() for each in table.mallocs]
    futures: dict[Future[Done], Cell] = {}
    try:
        for cell in table.cells():
            order = Order(run, table.flats[cell.trace], placed[cell.malloc], table.times_calls, here)
            futures[place.executor.submit(carry_out, order)] = cell
        for future in as_completed(futures):
            settle(future, futures, results, (RunError, *place.lost))
            progress(futures[future])
    except KeyboardInterrupt:
        results.was_interrupted = True
    finally:
        for future in futures:
            future.cancel()
        if results.was_interrupted or len(results.done) < len(futures):
            place.dismiss(run)
    return results


def settle(
    future: Future[Done], futures: Mapping[Future[Done], Cell], results: Results, failures: tuple[type[Exception], ...]
) -> None:
    """Note the result of a cell. If it failed, the same malloc is not tried again on this trace."""
    cell = futures[future]
    if future.cancelled() or cell.pair in results.failed:
        return
    try:
        results.done[cell] = future.result()
    except failures as error:
        results.failed[cell.pair] = f"the replay {error}" if isinstance(error, RunError) else f"was lost: {error}"
        for other, its_cell in futures.items():
            if its_cell.pair == cell.pair:
                other.cancel()


# --- on this machine


class Threads:
    """This machine: each thread of the executor waits for the processes of one cell."""

    lost: tuple[type[Exception], ...] = ()

    def __init__(self, jobs: int):
        self.executor: Executor = ThreadPoolExecutor(jobs)

    def prepare(self, files: Sequence[Path]) -> Callable[[Path], Path]:
        return Path

    def dismiss(self, run: str) -> None:
        dismiss(run)


@contextmanager
def on_this_machine(jobs: int) -> Iterator[Place]:
    """Run `jobs` cells side by side."""
    place = Threads(jobs)
    with place.executor:
        yield place
