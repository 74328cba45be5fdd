"""Generated workloads: the same name and seed give the same trace everywhere.

A workload is a set of blocks with sizes, births and deaths; sorted by time, they become events. Only uniform random
numbers are drawn, because numpy keeps their sequence from version to version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.traces.arrays import I64, np
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Events, Process, Trace, TraceError
from heapwright.traces.files import read_bytes

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]
else:
    Floats = Any

FIRST_CAPACITY = 4  # of a vector, in elements
COLUMNS = ("size", "alloc_rate", "num_live")  # of a table
MAX_NUMBER = 1e18  # of any number in a table: sizes fit 64 bits
MAX_SHOWN = 40  # letters of a cell, in a message


@dataclass(frozen=True)
class Distribution:
    """The requests of a program in its steady state: for each size in bytes, the rate and the number of live blocks."""

    size: I64
    rate: Floats  # allocations, in any unit of time
    live: Floats  # blocks, on average

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float]]) -> Distribution:
        """Make a distribution of rows of size, rate and live blocks. None is below 0, and some rates are above 0."""
        size, rate, live = (np.array(column) for column in zip(*rows, strict=True))
        return cls(size.astype(np.int64), rate, live)


def read_distribution(path: str | Path) -> Distribution:
    """A distribution from a table of `size, alloc_rate, num_live`, one size per line, in the form of google/fleetbench.

    The first line may name the columns; empty lines do not count. Raises TraceError, with the line and the column, if
    the file cannot be read or is not such a table.
    """
    lines = enumerate(read_bytes(path).decode("utf-8-sig", errors="replace").splitlines(), 1)
    filled = [(number, line.split(",")) for number, line in lines if line.strip()]
    if filled and number_in(filled[0][1][0]) is None:
        filled = filled[1:]
    rows = [row_of(path, number, cells) for number, cells in filled]
    if not any(rate > 0 for _, rate, _ in rows):
        raise TraceError(f"{path}: is no table of {', '.join(COLUMNS)}: no size has an alloc_rate above 0")
    return Distribution.of(rows)


def row_of(path: str | Path, number: int, cells: list[str]) -> tuple[float, float, float]:
    """The numbers of one line."""
    if len(cells) != len(COLUMNS):
        what = f"has {len(cells)} column{'s' * (len(cells) != 1)}, not {len(COLUMNS)}"
        raise TraceError(f"{path}:{number}: {what}: {', '.join(COLUMNS)}")
    for column, (name, cell) in enumerate(zip(COLUMNS, cells, strict=True), 1):
        value = number_in(cell)
        if value is None or not 0 <= value <= MAX_NUMBER:
            what = f"'{cell.strip()[:MAX_SHOWN]}' is not a number from 0 to {MAX_NUMBER:.0e}"
            raise TraceError(f"{path}:{number}: column {column}, {name}: {what}")
    size, rate, live = map(float, cells)
    return size, rate, live


def number_in(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def steady_state(distribution: Distribution, allocs: int, live_bytes: float, seed: int = 0) -> Events:
    """A program in its steady state: `live_bytes` live on average, and `allocs` allocations after the initial ones.

    The lifetime of a block is random and exponential, with mean live / rate for its size. The number of blocks is
    scaled to reach the live bytes. Lifetimes are counted in allocations and scale with it.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    scale = live_bytes / max(float(distribution.size @ distribution.live), 1.0)
    at_start = pick(random, distribution.live, round(scale * float(distribution.live.sum())))
    later = pick(random, distribution.rate, allocs)
    which = np.concatenate([at_start, later])
    end = allocs / (scale * float(distribution.rate.sum()))
    birth = np.concatenate([np.full(len(at_start), -1.0), np.sort(random.random(allocs)) * end])
    mean = np.full(
        len(distribution.size), np.inf
    )  # of lifetimes; blocks of a size that is never allocated again are never freed
    np.divide(distribution.live, distribution.rate, out=mean, where=distribution.rate > 0)
    death = np.maximum(birth, 0) - np.log1p(-random.random(len(birth))) * mean[which]
    return from_lifetimes(distribution.size[which], birth, np.where(death < end, death, np.inf))


def pick(random: numpy.random.Generator, weight: Floats, count: int) -> I64:
    """Indices drawn in proportion to their weights."""
    total = np.cumsum(weight)
    which: I64 = np.searchsorted(total, random.random(count) * total[-1], side="right")
    return which


def from_lifetimes(size: I64, birth: Floats, death: Floats) -> Events:
    """The events of blocks that are numbered by birth. A block whose death is infinity is never freed."""
    freed = np.flatnonzero(np.isfinite(death))
    block = np.concatenate([np.arange(len(size)), freed])
    order = np.argsort(np.concatenate([birth, death[freed]]), kind="stable")
    op = np.repeat([ALLOC, DEALLOC], [len(size), len(freed)])[order]
    block = block[order]
    return Events.of(op=op, thread=np.zeros(len(op)), block=block, size=np.where(op == ALLOC, size[block], 0))


def pairs(size: int = 64, count: int = 10_000) -> Events:
    """Allocate and free one block, repeatedly: the fastest path of every allocator."""
    op = np.tile([ALLOC, DEALLOC], count)
    block = np.repeat(np.arange(count), 2)
    return Events.of(op=op, thread=np.zeros(len(op)), block=block, size=np.where(op == ALLOC, size, 0))


def random_live_set(
    live: int = 1000, rounds: int = 10_000, smallest: int = 16, largest: int = 1024, seed: int = 0
) -> Events:
    """Keep `live` blocks. Each round frees one at random and allocates another, log-uniform in size."""
    random = np.random.Generator(np.random.PCG64(seed))
    place = np.concatenate([np.arange(live), (random.random(rounds) * live).astype(np.int64)])
    size = smallest * (largest / smallest) ** random.random(len(place))
    order = np.argsort(place, kind="stable")
    same = place[order[1:]] == place[order[:-1]]
    death = np.full(len(place), np.inf)
    death[order[:-1][same]] = order[1:][same] - 0.5
    return from_lifetimes(size.astype(np.int64), np.arange(len(place), dtype=float), death)


def growing_vectors(vectors: int = 4, elements: int = 4096, element: int = 8, rounds: int = 10) -> Events:
    """Vectors that are filled in turn and double as they grow, so that they get in each other's way."""
    rows: list[tuple[int, int, int]] = []
    for first in range(0, rounds * vectors, vectors):
        blocks = range(first, first + vectors)
        rows += [(ALLOC, block, FIRST_CAPACITY * element) for block in blocks]
        capacity = FIRST_CAPACITY
        while capacity < elements:
            capacity *= 2
            rows += [(REALLOC, block, capacity * element) for block in blocks]
        rows += [(DEALLOC, block, 0) for block in blocks]
    return of_rows(rows)


def holes(limit: int = 1 << 20, smallest: int = 64, largest: int = 1 << 14) -> Events:
    """Fill `limit` bytes with blocks of one size, free every second block, and continue with twice the size.

    This is Robson's program (`heapwright.programs.robson`) without knowledge of addresses. If blocks lie in the order
    of their births, no hole between the remaining ones is large enough for the next size. Each doubling then takes half
    the limit more.
    """
    rows: list[tuple[int, int, int]] = []
    live: list[tuple[int, int]] = []  # blocks and their sizes
    born, size = 0, smallest
    while size <= largest:
        rows += [(DEALLOC, block, 0) for block, _ in live[1::2]]
        live = live[::2]
        fresh = range(born, born + (limit - sum(size for _, size in live)) // size)
        rows += [(ALLOC, block, size) for block in fresh]
        live += [(block, size) for block in fresh]
        born, size = fresh.stop, size * 2
    return of_rows(rows)


def ladder(vectors: int = 32, smallest: int = 64, largest: int = 1 << 20, rung: int = 48) -> Events:
    """Vectors that double one after the other. After each step, a small block behind the vector stays live.

    So no vector can grow in place, and the memory that it left is too small for its next step.
    """
    rows: list[tuple[int, int, int]] = []
    sizes = [smallest << step for step in range((largest // smallest).bit_length())]
    for vector in range(0, vectors * (1 + len(sizes)), 1 + len(sizes)):
        for rung_block, size in enumerate(sizes, vector + 1):
            op = ALLOC if size == smallest else REALLOC
            rows += [(op, vector, size), (ALLOC, rung_block, rung)]
        rows.append((DEALLOC, vector, 0))
    return of_rows(rows)


def of_rows(rows: Sequence[tuple[int, int, int]]) -> Events:
    """One thread's events, from rows of op, block and size."""
    op, block, size = zip(*rows, strict=True) if rows else ((), (), ())
    return Events.of(op=op, thread=[0] * len(op), block=block, size=size)


SERVER = [  # size, rate, live: short-lived strings and nodes, long-lived tables and buffers
    (16, 300, 900),
    (24, 420, 2400),
    (32, 500, 2000),
    (48, 260, 1800),
    (64, 220, 1200),
    (100, 90, 300),
    (128, 80, 420),
    (256, 40, 160),
    (520, 12, 60),
    (1024, 9, 40),
    (4096, 4, 24),
    (16384, 0.8, 5),
    (65536, 0.2, 2),
]


def demo(seed: int = 0) -> Events:
    """A small server: 20,000 allocations, with 1 MiB live on average."""
    return steady_state(Distribution.of(SERVER), 20_000, 1 << 20, seed)


WORKLOADS: dict[str, Callable[[int], Events]] = {
    "demo": demo,
    "pairs": lambda seed: pairs(),
    "random": lambda seed: random_live_set(seed=seed),
    "vectors": lambda seed: growing_vectors(),
    "holes": lambda seed: holes(),
    "ladder": lambda seed: ladder(),
}
SEEDED = ("demo", "random")


def synthesize(name: str, seed: int = 0) -> Trace:
    """The trace of a named workload. Raises TraceError for an unknown name."""
    if name not in WORKLOADS:
        raise TraceError(f"no workload is named {name!r}; there are {', '.join(WORKLOADS)}, or a table ending in .csv")
    return Trace([Process(WORKLOADS[name](seed))], source=f"workload {name}, seed {seed}", program=name)


def from_table(path: str | Path, allocs: int, live_bytes: float, seed: int = 0) -> Trace:
    """The trace of a steady state whose distribution is in a file. Raises TraceError if the file is not a table."""
    events = steady_state(read_distribution(path), allocs, live_bytes, seed)
    return Trace([Process(events)], source=f"table {Path(path).name}, seed {seed}", program=Path(path).stem)
