"""The conformance part: short stories of requests, each of which shows one duty of a heap."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from heapwright.grade.requests import (
    EITHER,
    NO_BLOCK,
    REFUSED,
    SERVED,
    Request,
    calloc,
    free,
    malloc,
    memalign,
    realloc,
)

REGION = 16 << 20  # bytes of memory in which the stories play
TOO_MUCH = (REGION + 1, 1 << 40, (1 << 63) - 64, (1 << 63) - 1, (1 << 64) - 4096, (1 << 64) - 8, (1 << 64) - 1)
Story = Callable[[random.Random], Iterator[Request]]


@dataclass(frozen=True)
class Duty:
    """A duty of a heap, and the story that shows it."""

    name: str
    sentence: str
    story: Story
    is_in_lab: bool = True  # whether mm.c owes it, too


def every_size(chance: random.Random) -> Iterator[Request]:
    sizes = [*range(1, 130), *(chance.randrange(130, 100_000) for _ in range(40))]
    yield from (malloc(block, size) for block, size in enumerate(sizes))
    order = list(range(len(sizes)))
    chance.shuffle(order)
    yield from map(free, order)


def reuse(chance: random.Random) -> Iterator[Request]:
    """More than the region holds in all, but never more than a part of it at a time."""
    size = chance.randrange(200_000, 400_000)
    for block in range(2 * REGION // size):
        yield malloc(block, size)
        yield free(block)


def size_zero(chance: random.Random) -> Iterator[Request]:
    yield malloc(0, 40)
    yield from (malloc(block, 0, EITHER) for block in range(1, 20))
    yield from map(free, range(20))
    yield malloc(20, 40)


def null(chance: random.Random) -> Iterator[Request]:
    yield free(NO_BLOCK)
    yield realloc(0, chance.randrange(1, 500))
    yield free(NO_BLOCK)
    yield realloc(1, chance.randrange(1, 500))
    yield from map(free, range(2))


def resizing(chance: random.Random) -> Iterator[Request]:
    """Blocks that grow and shrink between others, so that some must move."""
    for block in range(24):
        yield malloc(block, chance.randrange(1, 400))
    for _ in range(300):
        yield realloc(chance.randrange(24), int(chance.paretovariate(0.5)) % 20_000 + 1)
    yield from map(free, range(24))


def zeroing(chance: random.Random) -> Iterator[Request]:
    """calloc where other blocks were."""
    for block in range(0, 80, 2):
        size = chance.randrange(1, 3000)
        yield malloc(block, size)
        yield free(block)
        yield calloc(block + 1, size)


def alignments(chance: random.Random) -> Iterator[Request]:
    for block in range(120):
        yield memalign(block, chance.randrange(4, 13), chance.randrange(1, 600))
        if block % 3 == 2:
            yield free(block - 1)


def too_much(chance: random.Random) -> Iterator[Request]:
    """Requests that nobody can serve. The heap goes on, and a block that cannot grow stays."""
    yield malloc(0, 100)
    for block, size in enumerate(TOO_MUCH, 1):
        yield malloc(block, size, REFUSED)
        yield realloc(0, size, REFUSED)
    yield malloc(len(TOO_MUCH) + 1, chance.randrange(1, 4000))
    yield realloc(0, 5000)


def exhaustion(chance: random.Random) -> Iterator[Request]:
    """Fill the memory until requests fail. What is freed then can be allocated again."""
    size = chance.randrange(120_000, 250_000)
    count = 2 * REGION // size
    yield from (malloc(block, size, EITHER if block > count // 8 else SERVED) for block in range(count))
    yield from map(free, range(count))
    yield from (malloc(count + block, size) for block in range(count // 8))


def at_random(chance: random.Random) -> Iterator[Request]:
    """A long random story over a few hundred blocks."""
    live: list[int] = []
    for block in range(600):
        yield malloc(block, int(chance.lognormvariate(4, 1.5)) + 1)
        live.append(block)
        if chance.random() < 0.3:
            yield realloc(chance.choice(live), int(chance.lognormvariate(4, 1.5)) + 1)
        while live and chance.random() < 0.47:
            yield free(live.pop(chance.randrange(len(live))))
    chance.shuffle(live)
    yield from map(free, live)


DUTIES = (
    Duty("sizes", "blocks of every size are served, apart and aligned, and keep their contents", every_size),
    Duty("reuse", "freed memory is used again: twice the memory, one block at a time", reuse),
    Duty("zero", "a request for 0 bytes returns null or a block that can be freed", size_zero),
    Duty("null", "free(NULL) does nothing, and realloc(NULL, n) allocates", null),
    Duty("resizing", "realloc keeps the contents when a block grows, shrinks or moves", resizing),
    Duty("zeroing", "calloc returns zeros where other blocks were", zeroing, is_in_lab=False),
    Duty("alignment", "memalign returns multiples of the alignment", alignments, is_in_lab=False),
    Duty("too-much", "a request beyond all memory returns null and changes nothing", too_much),
    Duty("exhaustion", "when memory ends requests return null, and what is freed can be allocated again", exhaustion),
    Duty("random", "a long random story", at_random),
)
