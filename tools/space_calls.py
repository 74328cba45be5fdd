"""Random calls of dlmalloc's spaces, for tools/record_spaces.py. The recordings' driver.c says what each means."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

STEPS, MAX_LIVE, SIZES = 400, 60, (200, 2000, 60_000)
OPTIONS = "-2 8192", "-2 4096", "-2 5000", "-1 20000", "-3 400000", "9 1"  # of mallopt
LARGE = 300_000  # a mapping by itself, unless the space keeps large chunks
ON_HEAP = (
    *(("m", 100), ("l", 20_000), ("m", 30_000), ("m", 15_000), ("l", 5000), ("m", 9000), ("m", LARGE), ("l", -1)),
    *(("m", 9000), ("m", LARGE), ("l", 400_000), ("m", LARGE), ("m", 100), ("s", 0)),
)
IN_SPACE = (
    *(("l", 8192), ("m", 2000), ("m", 3000), ("m", 9000), ("m", LARGE), ("l", LARGE), ("m", 9000), ("m", LARGE)),
    *(("l", -1), ("m", LARGE), ("s", 0)),
)
OF_HEAP, OF_SPACE = ([f"{kind} {space} {n} 0" for kind, n in each] for space, each in ((-1, ON_HEAP), (0, IN_SPACE)))
LIMITS = [*OF_HEAP, "c 0 0 0", *OF_SPACE]  # a program about limits of the footprint, where calls fail


class Program:
    """Random calls as driver.c reads them, on live spaces and blocks. With `lends`, spaces in lent memory too."""

    def __init__(self, seed: int, lends: bool = True):
        self.kinds = 3 if lends else 2
        self.rng, self.births, self.spaces = Random(seed), 0, 0
        self.live: dict[int, tuple[int, bool]] = {}  # block -> its space, and whether it may be resized
        self.open = [-1]

    def calls(self) -> Iterator[str]:
        yield "m -1 100 0"
        self.born(-1, 1)
        for _ in range(STEPS):
            yield from getattr(self, self.rng.choice(CHOICES))(self.rng.choice(self.open))
        yield from (f"s {space} 0 0" for space in self.open)

    def born(self, space: int, number: int, is_plain: bool = True) -> None:
        self.live |= {self.births + i: (space, is_plain) for i in range(number)}
        self.births += number

    def size(self) -> int:
        return self.rng.randrange(self.rng.choice(SIZES))

    def create(self, space: int) -> Iterator[str]:
        if len(self.open) < 5:
            forms = "c 0 0 0", f"c {self.size()} 0 0", f"b {4992 + self.size() * 16} 0 0"
            yield self.rng.choice(forms[: self.kinds])
            self.open.append(self.spaces)
            self.spaces += 1

    def destroy(self, space: int) -> Iterator[str]:
        if space >= 0 and all(is_plain for owner, is_plain in self.live.values() if owner == space):
            self.live = {block: found for block, found in self.live.items() if found[0] != space}
            self.open.remove(space)
            yield f"x {space} 0 0"

    def alloc(self, space: int) -> Iterator[str]:
        is_large = self.rng.random() < 0.03
        if len(self.live) < MAX_LIVE:
            yield f"m {space} {LARGE if is_large else self.size()} 0"
            self.born(space, 1, not is_large)

    def aligned(self, space: int) -> Iterator[str]:
        yield f"a {space} {self.size()} {1 << self.rng.randrange(5, 13)}"
        self.born(space, 1, is_plain=False)

    def together(self, space: int) -> Iterator[str]:
        count = self.rng.randrange(1, 9)
        yield f"{self.rng.choice('io')} {space} {count} {self.rng.randrange(700)}"
        self.born(space, count + 1)

    def free(self, space: int) -> Iterator[str]:
        if self.live:
            block = self.rng.choice(list(self.live))
            del self.live[block]
            yield f"f {block} 0 0"

    def free_many(self, space: int) -> Iterator[str]:
        blocks = [block for block, (owner, _) in self.live.items() if owner == space and self.rng.random() < 0.6][:90]
        self.live = {block: found for block, found in self.live.items() if block not in blocks}
        yield " ".join(map(str, ("k", space, *blocks)))

    def resize(self, space: int) -> Iterator[str]:
        plain = [block for block, (_, is_plain) in self.live.items() if is_plain]
        if plain:
            yield f"{self.rng.choice('rz')} {self.rng.choice(plain)} {self.size()} 0"

    def set(self, space: int) -> Iterator[str]:
        options = [f"p {each} 0" for each in OPTIONS]
        yield self.rng.choice((f"t {space} {self.size()} 0", f"t {space} 0 0", *options))
        if space >= 0:
            yield f"q {space} {self.rng.randrange(2)} 0"
        yield f"s {space} 0 0"


OFTEN = ["alloc"] * 6 + ["free"] * 4 + ["resize"] * 2
CHOICES = [*OFTEN, "create", "aligned", "together", "free_many", "set", "set", "destroy"]
