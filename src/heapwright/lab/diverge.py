"""The first event at which two mallocs, on one trace, put a block at different places.

Places are relative, because no two processes have the same addresses: for memory of the break, to the page of the
lowest block there; for mappings, to the page of the first block there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapwright.lab.addresses import addresses_of
from heapwright.native.runtime.linux import PAGE
from heapwright.traces.arrays import I64, Mask, np
from heapwright.traces.events import DEALLOC, REALLOC

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant
    from heapwright.traces.flat import Flat

MAPPINGS = 0x7000_0000_0000  # Linux on x86-64 places mappings above, programs and their break below
NEIGHBOURS = 3  # on each side


@dataclass(frozen=True)
class Places:
    """Where a malloc put each event's block: an address, 0 for none, and the same relative to its region."""

    addresses: I64
    relative: I64
    is_mapped: Mask

    @classmethod
    def of(cls, addresses: I64) -> Places:
        is_mapped = addresses >= MAPPINGS
        in_break = addresses[(addresses > 0) & ~is_mapped]
        mapped = addresses[is_mapped]
        bases = in_break.min(initial=MAPPINGS) & -PAGE, mapped[:1].sum() & -PAGE
        relative = np.where(addresses > 0, addresses - np.where(is_mapped, bases[1], bases[0]), 0)
        return cls(addresses, relative, is_mapped)


@dataclass(frozen=True)
class Neighbour:
    """A live block near a place: the event that made it, its place relative to its region, and its requested size."""

    event: int
    relative: int
    size: int


@dataclass(frozen=True)
class Side:
    """One malloc at the first event that differs: where the block went, and the live blocks around it."""

    allocator: str
    relative: int | None  # None if the request failed
    is_mapped: bool
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Divergence:
    """The first event that differs, None if none does, and how many requests have different places in all."""

    event: int | None
    requests: int
    different: int
    sides: tuple[Side, ...]


def diverge(flat: Flat, pair: tuple[Contestant, Contestant], progress: Callable[[str], None]) -> Divergence:
    """Where the two mallocs differ first. Raises RunError if a replay fails."""
    found = []
    for each in pair:
        progress(f"{each.name}: replaying")
        found.append(Places.of(addresses_of(flat, each)))
    one, other = found
    asks = flat.records["op"] <= REALLOC
    differs = asks & ((one.relative != other.relative) | (one.is_mapped != other.is_mapped))
    differs |= asks & ((one.addresses == 0) != (other.addresses == 0))
    if not differs.any():
        return Divergence(None, int(asks.sum()), 0, ())
    event = int(differs.argmax())
    sides = tuple(side(flat, each.name, places, event) for each, places in zip(pair, found, strict=True))
    return Divergence(event, int(asks.sum()), int(differs.sum()), sides)


def side(flat: Flat, name: str, places: Places, event: int) -> Side:
    """One malloc's place for the event's block, and its neighbours."""
    address, is_mapped = int(places.addresses[event]), bool(places.is_mapped[event])
    makers = live_before(flat, event)
    makers = makers[(places.addresses[makers] > 0) & (places.is_mapped[makers] == is_mapped)]
    makers = makers[np.argsort(places.addresses[makers], kind="stable")]
    middle = int(np.searchsorted(places.addresses[makers], address))
    near = makers[max(0, middle - NEIGHBOURS) : middle + NEIGHBOURS].tolist()
    sizes = flat.records["size"]
    neighbours = tuple(Neighbour(each, int(places.relative[each]), int(sizes[each])) for each in near)
    return Side(name, int(places.relative[event]) if address else None, is_mapped, neighbours)


def live_before(flat: Flat, event: int) -> I64:
    """The events that made the blocks which are live before an event, or gave them their present size."""
    records = flat.records[:event]
    named = np.flatnonzero((records["op"] <= DEALLOC) & (records["slot"] >= 0))
    last = np.full(flat.slots, -1, np.int64)
    np.maximum.at(last, records["slot"][named].astype(np.int64), named)
    makers = last[last >= 0]
    alive: I64 = makers[records["op"][makers] <= REALLOC]
    return alive
