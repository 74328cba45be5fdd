"""Robson's adversary: how much memory the worst requests make an allocator need, and the least that any could do with.

`robson M N` never has more than M units live, in blocks of 1, 2, 4 … N units of 256 bytes; both are powers of two. It
sees where its blocks lie, and begins with M of one unit. Before it asks for the next larger size, it chooses an offset
and keeps only the blocks that cover it modulo that size: hardly a gap between them can hold a block of the new size.
Then it asks for as many of those as may live.

No allocator that leaves blocks where they are gets by with less than M (1/2 log2 N + 1) - N + 1 units from the lowest
to the highest that a block touches. First fit without headers, as `linked_list` is, needs just that; more is headers,
rounding, and policy. Only the addresses are bounded: what is held may be less, where free pages go back to the
kernel while their neighbours live.

Source: J. M. Robson, An estimate of the store size necessary for dynamic storage allocation, JACM 18(3), 1971, and
Bounds for some functions concerning dynamic storage allocation, JACM 21(3), 1974; the bound and the program are
restated by N. Cohen and E. Petrank, Limitations of partial compaction, PLDI 2013.
"""

from __future__ import annotations

from typing import NamedTuple

from heapwright.bits import MOST
from heapwright.collections import running
from heapwright.programs.user import Args, Fatal, println

UNIT = 256  # bytes: headers do not weigh much beside it
ALIGN = 16
UNITS, LARGEST = "256", "32"  # units, if nothing else is said


class Place(NamedTuple):
    """A live block."""

    address: int
    size: int

    def covers(self, offset: int, period: int) -> bool:
        """Whether one of its bytes has an address that is the offset modulo the period."""
        return (offset - self.address) % period < self.size


class Adversary:
    """Makes requests of the running heap, with at most `limit` bytes live."""

    def __init__(self, limit: int):
        self.limit, self.offset = limit, 0
        self.live: list[Place] = []
        self.lowest, self.highest = MOST, 0  # where a block begins, and where one ends

    @property
    def live_bytes(self) -> int:
        return sum(place.size for place in self.live)

    def fill(self, size: int) -> None:
        """Allocate as many blocks of a size as may live."""
        for _ in range((self.limit - self.live_bytes) // size):
            address = running().alloc(size, ALIGN, "robson")
            self.live.append(Place(address, size))
            self.lowest, self.highest = min(self.lowest, address), max(self.highest, address + size)

    def cull(self, size: int) -> None:
        """Keep the blocks that cover an offset modulo the size: of two offsets the one that leaves more gaps."""
        self.offset = max(self.offset, self.offset + size // 2, key=lambda offset: self.waste(offset, size))
        for place in self.live:
            if not place.covers(self.offset, size):
                running().dealloc(place.address)
        self.live = [place for place in self.live if place.covers(self.offset, size)]

    def waste(self, offset: int, size: int) -> int:
        """The bytes around the blocks kept for an offset that can serve no block of the size."""
        return sum(size - place.size for place in self.live if place.covers(offset, size))

    def end(self) -> None:
        for place in self.live:
            running().dealloc(place.address)


def main(args: Args) -> int:
    most, largest = sizes(args)
    adversary = Adversary(most * UNIT)
    adversary.fill(UNIT)
    println(f"{'size':>9}{'kept':>12}{'live':>12}{'held':>12}")
    show(UNIT, 0, adversary.live_bytes)
    size = UNIT
    while size < largest * UNIT:
        size *= 2
        adversary.cull(size)
        kept = adversary.live_bytes
        adversary.fill(size)
        show(size, kept, adversary.live_bytes)
    adversary.end()
    limit, held = adversary.limit, running().heap.memory.most_held()
    println(f"held at most {times(held, limit)} what may live")
    println(f"blocks lay over {times(adversary.highest - adversary.lowest, limit)}")
    println(f"Robson's bound for all that move nothing: {times(least(most, largest) * UNIT, limit)}")
    return 0


def sizes(args: Args) -> tuple[int, int]:
    """M and N, in units."""
    given = [args.skip(1).next() or UNITS, args.next() or LARGEST]
    most, largest = (int(each) if each.isdecimal() else 0 for each in given)
    if not (largest.bit_count() == most.bit_count() == 1 and largest <= most):
        raise Fatal("how many units may live, and how many has the largest block? Two powers of two")
    return most, largest


def least(most: int, largest: int) -> int:
    """Robson's bound, in units."""
    log2 = largest.bit_length() - 1
    return most * (log2 + 2) // 2 - largest + 1


def show(size: int, kept: int, live: int) -> None:
    println(f"{size:>9,}{kept:>12,}{live:>12,}{running().heap.memory.held():>12,}")


def times(size: int, limit: int) -> str:
    return f"{size:,} bytes, {size / limit:.2f} times"
