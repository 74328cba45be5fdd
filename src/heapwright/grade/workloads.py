"""The traces of a grading without `--traces`: workloads whose sizes, counts and orders are drawn for each run."""

from __future__ import annotations

import random
from collections.abc import Callable

from heapwright.traces import synthesize
from heapwright.traces.events import ALLOC, DEALLOC, Events


def server(chance: random.Random) -> Events:
    """Short-lived strings and nodes, long-lived tables and buffers."""
    drawn = [(varied(chance, size), rate, live) for size, rate, live in synthesize.SERVER]
    distribution = synthesize.Distribution.of(drawn)
    return synthesize.steady_state(distribution, 1500, chance.uniform(0.1, 0.15) * (1 << 20), chance.getrandbits(32))


def replacement(chance: random.Random) -> Events:
    """A live set whose blocks are replaced at random, of sizes that differ by a factor of a thousand."""
    live = chance.randrange(300, 500)
    return synthesize.random_live_set(live, 1500, 16, chance.randrange(12_000, 20_000), chance.getrandbits(32))


def vectors(chance: random.Random) -> Events:
    """Vectors that take turns to double."""
    return synthesize.growing_vectors(chance.randrange(4, 9), 1 << chance.randrange(11, 14), 8, 20)


def holes(chance: random.Random) -> Events:
    """Blocks of one size, of which every second is freed; then twice the size."""
    return synthesize.holes(chance.randrange(120_000, 160_000), chance.randrange(90, 140), 1 << 13)


def ladder(chance: random.Random) -> Events:
    """Vectors that double between small blocks that stay."""
    return synthesize.ladder(chance.randrange(30, 50), chance.randrange(40, 80), 1 << 15, chance.randrange(16, 90))


def queue(chance: random.Random) -> Events:
    """Messages that leave in the order in which they came."""
    rows: list[tuple[int, int, int]] = []
    depth, sizes = chance.randrange(100, 300), [chance.randrange(16, 2000) for _ in range(12)]
    for block in range(1500):
        rows.append((ALLOC, block, chance.choice(sizes)))
        if block >= depth:
            rows.append((DEALLOC, block - depth, 0))
    return synthesize.of_rows(rows)


def varied(chance: random.Random, size: int) -> int:
    return max(1, round(size * chance.uniform(0.8, 1.25)))


DRAWN: dict[str, Callable[[random.Random], Events]] = {
    "server": server,
    "replacement": replacement,
    "vectors": vectors,
    "holes": holes,
    "ladder": ladder,
    "queue": queue,
}
