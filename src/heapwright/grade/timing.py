"""The time of a submission: processor time by the kernel's clock for its process, beside that of a reference.

Each run is a fresh process with resident memory. The requests come in a few batches, cut where the submission cannot
know. Between the batches the grader writes a secret word into each live block, and looks for it after the next one. The
clock counts from before the first request to after the last answer, whatever the process does between the batches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from heapwright.grade.judge import Failure
from heapwright.grade.player import REGION_START, WORD, Ended, Player, Setting, records, whole_pages
from heapwright.grade.requests import Request
from heapwright.grade.sandbox import MIB
from heapwright.grade.submission import SYSTEM, Subject
from heapwright.traces.arrays import np
from heapwright.traces.events import DEALLOC

BATCHES = 4


@dataclass
class Time:
    """The processor times of one trace's runs in nanoseconds: the submission's and the reference's, in pairs."""

    requests: int
    own: list[int]
    reference: list[int]

    @property
    def own_seconds(self) -> float:
        """The best run: whatever else the machine does only adds to it."""
        return min(self.own) / 1e9

    @property
    def reference_seconds(self) -> float:
        return min(self.reference) / 1e9

    @property
    def ratio(self) -> float:
        """The throughput in parts of the reference's."""
        return self.reference_seconds / self.own_seconds

    @property
    def ratios(self) -> list[float]:
        """The same for each pair of runs, which shows how far they differ."""
        return [reference / own for own, reference in zip(self.own, self.reference, strict=True)]


@dataclass
class Race:
    """A submission and its reference on one trace. `addresses` are those that the submission was judged with."""

    subject: Subject
    against: Subject
    own_setting: Setting
    reference_setting: Setting
    requests: Sequence[Request]
    addresses: Sequence[int]

    def timed(self, repeats: int, chance: random.Random) -> Time:
        """The times of both, in turns. Raises Failure if the submission does otherwise than when it was judged."""
        time = Time(len(self.requests), [], [])
        for _ in range(repeats):
            try:
                time.own.append(self.own_run(chance))
            except Ended as end:
                raise Failure(end.rule, f"{end} when it was timed") from None
            with Player(self.against, self.reference_setting) as player:
                time.reference.append(clocked(player, self.requests, chance, lambda first, end, results: None))
        return time

    def own_run(self, chance: random.Random) -> int:
        expected = np.array(self.addresses, np.uint64).astype(np.int64)
        with Player(self.subject, self.own_setting) as player:
            secrets = Secrets(player, self.requests, chance)

            def look(first: int, end: int, results: Any) -> None:
                require_same(results, expected[first:end], self.requests, first)
                secrets.pass_over(first, end, results.tolist())

            return clocked(player, self.requests, chance, look)


def clocked(
    player: Player, requests: Sequence[Request], chance: random.Random, look: Callable[[int, int, Any], None]
) -> int:
    """The process's nanoseconds for the requests, in a few batches; `look` is called after each."""
    packed = records(requests)
    cuts = sorted({0, *(chance.randrange(len(packed)) for _ in range(BATCHES - 1)), len(packed)})
    began = player.cpu_nanoseconds()
    for first, end in pairwise(cuts):
        look(first, end, player.many(packed[first:end]))
    return player.cpu_nanoseconds() - began


def require_same(results: Any, expected: Any, requests: Sequence[Request], first: int) -> None:
    differs = np.flatnonzero(results != expected)
    if len(differs):
        place = int(differs[0])
        number = first + place + 1
        what = f"request {number:,}, {requests[number - 1]}, returned {int(results[place]):#x} when it was timed"
        raise Failure("repeated", f"{what}, and {int(expected[place]):#x} when it was judged", number)


class Secrets:
    """Words in live blocks, sought after each batch. A realloc must carry them along.

    The driver stamps the first word of a new block with its number. After a batch, each block gets a secret word.
    """

    def __init__(self, player: Player, requests: Sequence[Request], chance: random.Random):
        self.player, self.requests, self.chance = player, requests, chance
        self.live: dict[int, tuple[int, int]] = {}  # address and size of each block
        self.kept: dict[int, tuple[int, bytes]] = {}  # offset and word, for the blocks that have one

    def pass_over(self, first: int, end: int, results: Sequence[int]) -> None:
        """Follow a batch, look for the words of the blocks that are still there, and write new ones."""
        for request, address in zip(self.requests[first:end], results, strict=True):
            self.follow(request, address)
        for block, (offset, word) in self.kept.items():
            place = self.live[block][0] - REGION_START + offset
            if self.player.heap[place : place + WORD.size] != word:
                what = f"block {block} of {self.live[block][1]:,} bytes lost its contents when it was timed"
                raise Failure("kept", what, end)
        for block, (address, size) in self.live.items():
            if size >= WORD.size:
                self.write(block, address, size)

    def follow(self, request: Request, address: int) -> None:
        if request.op == DEALLOC:
            self.live.pop(request.block, None)
            self.kept.pop(request.block, None)
        elif address:
            if request.block not in self.live:
                self.kept[request.block] = (0, WORD.pack(request.block + 1))
            self.live[request.block] = (address, request.size)
            if self.kept.get(request.block, (0, b""))[0] + WORD.size > request.size:
                self.kept.pop(request.block, None)  # the block is too small for its word

    def write(self, block: int, address: int, size: int) -> None:
        offset, word = self.chance.randrange(size - WORD.size + 1), self.chance.randbytes(WORD.size)
        place = address - REGION_START + offset
        self.player.heap[place : place + WORD.size] = word
        self.kept[block] = (offset, word)


def reference_setting(setting: Setting, against: Subject, payload: int) -> Setting:
    """The setting of the reference, with far more resident memory than it needs."""
    at_start = min(8 * payload + MIB, setting.region_bytes // 2)
    at_end = 0 if against.face == SYSTEM else setting.region_bytes // 4
    return replace(setting, populated=(whole_pages(at_start), whole_pages(at_end)))
