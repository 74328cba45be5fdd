"""Figures of merit of one malloc on one trace, under the names that the field gives them.

Johnstone and Wilson (The memory fragmentation problem: solved?, 1998) measure fragmentation in four ways: (1) held /
live on average over the trace, (2) at the moment of the most live bytes, (3) at the moment of the most held bytes, and
(4) the most held over the most live bytes. Each is given as the excess over 1, so 0.5 is 50 %.

A ratio to fewer than FLOOR live bytes says more about pages than about the allocator, so it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heapwright.lab.curves.parts import Holes, Parts

FLOOR = 64 << 10  # bytes
REQUESTS = ("p50", "p90", "p99", "max")


@dataclass(frozen=True)
class Held:
    """What a heap holds over a trace, related to what is live; None for a ratio with too few live bytes.

    `is_exact` says that each event counts; otherwise it is the samples that count.
    """

    is_exact: bool
    peak: int
    live_then: int  # requested bytes at the moment of the peak
    average_ratio: float | None


@dataclass(frozen=True)
class Merit:
    """The figures; None for what the malloc does not report, and for ratios with too few live bytes."""

    peak_live: int
    peak_held: int | None
    peak_resident: int  # pages that were touched, at the samples
    is_exact: bool
    utilization: float | None
    jw1: float | None
    jw2: float | None
    jw3: float | None
    jw4: float | None
    resident_excess: float | None  # the same of resident bytes, as glibc's trace_run compares them
    internal_of_granted: float | None  # at the peak of live bytes, as all that follow
    internal_of_requested: float | None
    own: int | None
    largest_hole: float | None
    root_sum_square: float | None
    unusable: dict[str, float | None]

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


def merit_of(at_peak: Parts, holes: Holes | None, held: Held | None, resident: int) -> Merit:
    """The figures of a run, from the parts at the peak of live bytes and from what was held."""
    live, most = at_peak.requested, held.peak if held else None
    granted = None if at_peak.internal is None else live + at_peak.internal
    unusable = holes.unusable() if holes else (None,) * len(REQUESTS)
    return Merit(
        peak_live=live,
        peak_held=most,
        peak_resident=resident,
        is_exact=bool(held and held.is_exact),
        utilization=live / most if most and live >= FLOOR else None,
        jw1=None if held is None or held.average_ratio is None else held.average_ratio - 1,
        jw2=excess(at_peak.held, live),
        jw3=excess(most, held.live_then if held else 0),
        jw4=excess(most, live),
        resident_excess=excess(resident, live),
        internal_of_granted=at_peak.internal / granted if at_peak.internal is not None and granted else None,
        internal_of_requested=at_peak.internal / live if at_peak.internal is not None and live else None,
        own=at_peak.own,
        largest_hole=holes.largest_hole if holes else None,
        root_sum_square=holes.root_sum_square if holes else None,
        unusable=dict(zip(REQUESTS, unusable, strict=True)),
    )


def excess(held: int | None, live: int) -> float | None:
    """How much more is held than is live, as a fraction of the live bytes."""
    return held / live - 1 if held is not None and live >= FLOOR else None
