"""The judgement of a heap from outside: each result is checked, and each block is filled and read back.

alive      the process does not crash or exit
prompt     it answers in time
served     a request that can be served is served
refused    a request that no heap can serve returns null
placed     a block lies inside the heap
aligned    its address is a multiple of the alignment
apart      it overlaps no live block
kept       its contents stay until it is freed, and move with realloc
zeroed     calloc's bytes are zero
repeated   a second run of the same requests, for time, has the same addresses
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from heapwright.grade.player import REGION_START, Ended, Player
from heapwright.grade.requests import EITHER, REFUSED, Request
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, REALLOC

NOISE_BYTES = 1 << 20  # of random contents; larger blocks repeat them
LOOKS = 32  # one request in so many is followed by a look at the memory outside the region
TOLD = 6  # requests before a failure that its story has


class Failure(Exception):
    """A rule that a submission broke: what happened, at which request, and the requests before it."""

    def __init__(self, rule: str, what: str, number: int = 0, story: Sequence[str] = ()):
        super().__init__(what)
        self.rule, self.what, self.number, self.story = rule, what, number, list(story)


@dataclass
class Block:
    """A live block, and where its contents begin in the noise."""

    address: int
    size: int
    noise: int

    @property
    def end(self) -> int:
        return self.address + max(self.size, 1)


@dataclass
class Growth:
    """The moment at which the heap reached its peak: the request, and the live blocks."""

    number: int = 0
    request: Request | None = None
    heap_bytes: int = 0
    blocks: list[tuple[int, int]] = field(default_factory=list)  # live after it: address and end, in order
    before: list[tuple[int, int]] = field(default_factory=list)  # live while it was served
    break_bytes: int = 0  # below the break, after it


@dataclass
class Figures:
    """What a heap held while it served requests, in bytes."""

    requests: int = 0
    peak_payload: int = 0
    peak_heap: int = 0
    elsewhere: int = 0  # of the peak, private memory outside the region
    claimed: tuple[int, int] = (0, 0)  # at the peak, below the break and in mappings
    growth: Growth = field(default_factory=Growth)

    @property
    def utilization(self) -> float:
        return self.peak_payload / self.peak_heap if self.peak_heap else 0.0


class Judge:
    """Requests, one at a time, with everything that is checked after each. Raises Failure.

    A careful judge also reads all live blocks after each request, so it names the request that damaged one.
    """

    def __init__(self, player: Player, alignment: int, chance: random.Random, is_careful: bool = False):
        self.player, self.alignment, self.chance, self.is_careful = player, alignment, chance, is_careful
        self.noise = chance.randbytes(NOISE_BYTES)
        self.live: dict[int, Block] = {}
        self.starts: list[int] = []  # addresses of the live blocks, in order
        self.ends: dict[int, int] = {}
        self.results: list[int] = []
        self.done: list[Request] = []
        self.payload = 0
        self.figures = Figures()

    def play(self, requests: Iterable[Request]) -> Judge:
        for request in requests:
            self.step(request)
        for block in list(self.live):
            self.require_kept(block)
        self.look_outside()
        return self

    def step(self, request: Request) -> None:
        before = self.live.get(request.block)
        if before and request.op in (DEALLOC, REALLOC):
            self.require_kept(request.block)
        self.done.append(request)
        result = self.answer(request)
        self.results.append(result)
        if request.op == DEALLOC:
            self.forget(request.block)
        elif result == 0:
            self.require_refusal(request)
        else:
            self.accept(request, result, before)
        self.observe(request, before)

    def answer(self, request: Request) -> int:
        try:
            return self.player.one(request)
        except Ended as end:
            raise self.failure(end.rule, f"{end} in {request}") from None

    # --- the checks of a result

    def require_refusal(self, request: Request) -> None:
        if request.expects not in (REFUSED, EITHER):
            raise self.failure("served", f"{request} returned null, with {self.payload:,} bytes live")

    def accept(self, request: Request, address: int, before: Block | None) -> None:
        """Check a block's place and contents, and fill it."""
        if request.expects == REFUSED:
            raise self.failure("refused", f"{request} returned {address:#x}; no heap has so much memory")
        block = Block(address, request.size, self.chance.randrange(NOISE_BYTES))
        self.require_place(request, block)
        if before:
            self.forget(request.block)
        self.require_apart(request, block)
        if before:
            self.require_moved(request, block, before)
        if request.op == ALLOC_ZEROED and any(self.content(block)):
            raise self.failure("zeroed", f"{request} returned a block whose bytes are not all zero")
        self.remember(request.block, block)

    def require_place(self, request: Request, block: Block) -> None:
        end = REGION_START + self.player.setting.region_bytes
        if block.address < REGION_START or block.end > end:
            raise self.failure("placed", f"{request} returned {block.address:#x}, which is outside the heap")
        align = max(self.alignment, 1 << request.log2_align)
        if block.address % align:
            raise self.failure(
                "aligned", f"{request} returned {block.address:#x}, which is not a multiple of {align:,}"
            )

    def require_apart(self, request: Request, block: Block) -> None:
        place = bisect.bisect_left(self.starts, block.address)
        for start in self.starts[max(place - 1, 0) : place + 1]:
            if start < block.end and self.ends[start] > block.address:
                other = next(number for number, each in self.live.items() if each.address == start)
                what = f"{request} returned {block.address:#x}, inside or across block {other}: "
                raise self.failure("apart", f"{what}{self.live[other].size:,} bytes at {start:#x}")

    def require_moved(self, request: Request, block: Block, before: Block) -> None:
        count = min(before.size, block.size)
        place = difference(self.content(block)[:count], self.pattern(before.noise, count))
        if place is not None:
            what = f"{request} lost the block's contents: byte {place:,} of {before.size:,} differs"
            raise self.failure("kept", what)

    def require_kept(self, number: int) -> None:
        block = self.live[number]
        place = difference(self.content(block), self.pattern(block.noise, block.size))
        if place is not None:
            what = f"the contents of block {number} changed: byte {place:,} of {block.size:,}, at {block.address:#x}"
            raise self.failure("kept", what)

    def failure(self, rule: str, what: str) -> Failure:
        return Failure(rule, what, len(self.done), self.story())

    def story(self) -> list[str]:
        """The last requests with their results, as far as there are some."""
        first = max(0, len(self.done) - TOLD)
        results = [*self.results, None][first : len(self.done)]  # the last request may have none
        rows = enumerate(zip(self.done[first:], results, strict=True), first + 1)
        lines = [f"{number}: {request}{told(request, result)}" for number, (request, result) in rows]
        return [*lines[:-1], *(f"{line}  <- here" for line in lines[-1:])]

    # --- blocks

    def content(self, block: Block) -> bytes:
        start = block.address - REGION_START
        return self.player.heap[start : start + block.size]

    def pattern(self, noise: int, size: int) -> bytes:
        while len(self.noise) < noise + size:
            self.noise *= 2
        return self.noise[noise : noise + size]

    def remember(self, number: int, block: Block) -> None:
        start = block.address - REGION_START
        self.player.heap[start : start + block.size] = self.pattern(block.noise, block.size)
        self.live[number] = block
        bisect.insort(self.starts, block.address)
        self.ends[block.address] = block.end
        self.payload += block.size

    def forget(self, number: int) -> None:
        block = self.live.pop(number, None)
        if block:
            del self.starts[bisect.bisect_left(self.starts, block.address)]
            del self.ends[block.address]
            self.payload -= block.size

    # --- what the heap holds

    def observe(self, request: Request, before: Block | None) -> None:
        """Keep the figures, and now and then look for memory elsewhere."""
        if self.is_careful:
            self.require_all_kept(request)
        figures = self.figures
        figures.requests += 1
        figures.peak_payload = max(figures.peak_payload, self.payload)
        if self.chance.randrange(LOOKS) == 0:
            self.look_outside()
        heap = self.player.extent() + figures.elsewhere
        if heap > figures.peak_heap:
            figures.peak_heap, figures.growth = heap, self.growth(request, before, heap)
            figures.claimed = self.player.claimed()

    def growth(self, request: Request, before: Block | None, heap: int) -> Growth:
        blocks = [(start, self.ends[start]) for start in self.starts]
        own = self.live.get(request.block)
        held = [each for each in blocks if own is None or each[0] != own.address]
        if before:
            bisect.insort(held, (before.address, before.end))
        return Growth(len(self.done), request, heap, blocks, held, self.player.claimed()[0])

    def look_outside(self) -> None:
        """Count private memory as heap from now on."""
        try:
            more = self.player.bytes_elsewhere() - self.figures.elsewhere
        except Ended as end:
            raise self.failure(end.rule, f"{end} after the last request") from None
        if more > 0:
            self.figures.elsewhere += more
            self.figures.peak_heap = max(self.figures.peak_heap, self.player.extent() + self.figures.elsewhere)

    def require_all_kept(self, request: Request) -> None:
        for number in self.live:
            try:
                self.require_kept(number)
            except Failure as failure:
                raise self.failure("kept", f"{request} wrote into a live block: {failure.what}") from None


def difference(found: bytes, expected: bytes) -> int | None:
    """The first place where two strings differ, or None."""
    if found == expected:
        return None
    return next(place for place, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)


def told(request: Request, result: int | None) -> str:
    if result is None or request.op == DEALLOC:
        return ""
    return f" = {result:#x}" if result else " = NULL"
