"""Robson's adversary: the memory that the worst requests make an allocator need, and the lower bound for any allocator.

`robson M N` never has more than M units live, in blocks of 1, 2, 4 … N units of 256 bytes; both are powers of two. It
sees where its blocks lie, and begins with M blocks of one unit. Before it requests the next larger size, it chooses an
offset and keeps only the blocks that cover it modulo that size: hardly a gap between them can hold a block of the new
size. Then it requests as many of these as may live.

Every allocator that does not move blocks needs at least M (1/2 log2 N + 1) - N + 1 units from the lowest to the highest
address of a block. First fit without headers, such as `linked_list`, needs exactly that; the rest is headers, rounding
and policy. The bound is on addresses only. The heap may hold less memory if free pages go back to the kernel while
their neighbours live.

Source: J. M. Robson, An estimate of the store size necessary for dynamic storage allocation, JACM 18(3), 1971, and
Bounds for some functions concerning dynamic storage allocation, JACM 21(3), 1974; the bound and the program are
restated by N. Cohen and E. Petrank, Limitations of partial compaction, PLDI 2013.
"""

from __future__ import annotations

from typing import NamedTuple

from heapwright.bits import MAX_WORD
from heapwright.collections import running
from heapwright.programs.user import Args, Fatal, println

UNIT = 256  # bytes: headers are small in comparison
ALIGN = 16
UNITS, LARGEST = "256", "32"  # units, by default


class Hole(NamedTuple):
    """A live block."""

    address: int
    size: int

    def covers(self, offset: int, period: int) -> bool:
        """Whether the address of one of its bytes equals the offset modulo the period."""
        return (offset - self.address) % period < self.size


class Adversary:
    """Makes requests to the running heap, with at most `limit` bytes live."""

    def __init__(self, limit: int):
        self.limit, self.offset = limit, 0
        self.live: list[Hole] = []
        self.lowest, self.highest = MAX_WORD, 0  # the lowest start and the highest end of a block

    @property
    def live_bytes(self) -> int:
        return sum(place.size for place in self.live)

    def fill(self, size: int) -> None:
        """Allocate as many blocks of a size as may be live."""
        for _ in range((self.limit - self.live_bytes) // size):
            address = running().alloc(size, ALIGN, "robson")
            self.live.append(Hole(address, size))
            self.lowest, self.highest = min(self.lowest, address), max(self.highest, address + size)

    def cull(self, size: int) -> None:
        """Keep the blocks that cover an offset modulo the size: the offset, of two, that leaves more gaps."""
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
    maximum, largest = sizes(args)
    adversary = Adversary(maximum * UNIT)
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
    limit, held = adversary.limit, running().heap.memory.peak_held()
    println(f"held at most {times(held, limit)} what may live")
    println(f"blocks lay over {times(adversary.highest - adversary.lowest, limit)}")
    println(f"Robson's bound for all that move nothing: {times(minimum(maximum, largest) * UNIT, limit)}")
    return 0


def sizes(args: Args) -> tuple[int, int]:
    """M and N, in units."""
    given = [args.skip(1).next() or UNITS, args.next() or LARGEST]
    maximum, largest = (int(each) if each.isdecimal() else 0 for each in given)
    if not (largest.bit_count() == maximum.bit_count() == 1 and largest <= maximum):
        raise Fatal("how many units may be live, and how many has the largest block? Give two powers of two")
    return maximum, largest


def minimum(maximum: int, largest: int) -> int:
    """Robson's bound, in units."""
    log2 = largest.bit_length() - 1
    return maximum * (log2 + 2) // 2 - largest + 1


def show(size: int, kept: int, live: int) -> None:
    println(f"{size:>9,}{kept:>12,}{live:>12,}{running().heap.memory.held():>12,}")


def times(size: int, limit: int) -> str:
    return f"{size:,} bytes, {size / limit:.2f} times"
