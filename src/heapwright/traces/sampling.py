"""Estimates from a sample: a recording of each request with a probability that grows with its size.

A request for `size` bytes is in the sample with the probability p = 1 - exp(-(size + 1) / rate), whatever the others do
(`heapwright.layers.sampled`). So it stands for 1 / p requests: the sums of these weights, and of sizes times weights,
estimate the true totals without bias (D. Horvitz and D. Thompson, 1952). The variance of such a sum of values v is
estimated without bias by the sum of (1 - p) * (v / p)^2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapwright.traces.arrays import F64, I64, Mask, np
from heapwright.traces.events import FAILED, INHERITED, Events, Trace, TraceError, live, previous_on_block

if TYPE_CHECKING:
    from heapwright.traces.sources import Source


@dataclass(frozen=True)
class Estimate:
    """An estimated total, and its standard error."""

    value: float
    error: float = 0.0


def chances(size: Any, rate: int) -> F64:
    """The probability with which requests of these sizes are in a sample."""
    found: F64 = -np.expm1(-(np.asarray(size, np.float64) + 1) / rate)
    return found


def weights(size: Any, rate: int) -> F64:
    """How many requests each of these sizes stands for; 1 if `rate` is 0: all are recorded."""
    found: F64 = 1 / chances(size, rate) if rate else np.ones(len(size))
    return found


def variances(size: Any, rate: int) -> F64:
    """What requests of these sizes add to the variance of a total of bytes."""
    if not rate:
        return np.zeros(len(size))
    chance = chances(size, rate)
    found: F64 = (1 - chance) * (np.asarray(size, np.float64) / chance) ** 2
    return found


def requests_of(events: Events) -> Mask:
    """The requests of a process that succeeded, without blocks that it inherited."""
    found: Mask = events.asks & (events.flags & (FAILED | INHERITED) == 0)
    return found


def total_bytes(events: Events, rate: int) -> Estimate:
    """The bytes that a process's requests asked for."""
    size = events.size[requests_of(events)]
    return Estimate(float((size * weights(size, rate)).sum()), float(variances(size, rate).sum() ** 0.5))


def whole_of(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of independent estimates."""
    each = list(estimates)
    return Estimate(sum(one.value for one in each), sum(one.error**2 for one in each) ** 0.5)


def requested(source: Source) -> Estimate:
    """The bytes that all processes of a trace asked for."""
    rates = [facts["sample"] for facts in source.header["processes"]]
    return whole_of(total_bytes(events, rate) for place, rate in enumerate(rates) for events in source.chunks(place))


def live_figures(events: Events, rate: int) -> dict[str, int]:
    """The estimates of what a Summary has exactly: live memory at its highest and at the end."""
    live_bytes, live_blocks = live_estimate(events, rate)
    highest = int(live_bytes.argmax()) if len(events) else 0
    return {
        "peak_live_bytes": int(live_bytes.max(initial=0)),
        "live_blocks_at_peak": int(live_blocks[highest : highest + 1].sum()),
        "live_bytes_at_end": int(live_bytes[-1:].sum()),
        "live_blocks_at_end": int(live_blocks[-1:].sum()),
    }


def live_estimate(events: Events, rate: int) -> tuple[I64, I64]:
    """The live bytes and live blocks after each event of a whole process; exact if `rate` is 0."""
    if not rate:
        return live(events)
    previous = previous_on_block(events)
    weight = np.where(events.asks & ~events.failed, weights(events.size, rate), 0)
    old = np.where(previous >= 0, weight[previous], 0)
    old_size = np.where(previous >= 0, events.size[previous], 0)
    of_bytes, of_blocks = weight * events.size - old * old_size, weight - old
    return rounded(np.cumsum(of_bytes)), rounded(np.cumsum(of_blocks))


def rounded(values: Any) -> I64:
    found: I64 = np.rint(values).astype(np.int64)
    return found


def require_all(trace: Trace, name: object) -> Trace:
    """The trace. Raises TraceError if it is a sample, which cannot be replayed."""
    refuse_sample((process.sample for process in trace.processes), name)
    return trace


def refuse_sample(rates: Iterable[int], name: object) -> None:
    """Raise TraceError if one of the processes is a sample, given the bytes between its points."""
    if any(rates):
        raise TraceError(f"{name} is a sample, and a replay needs all requests: record again without --sample")
