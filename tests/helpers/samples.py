"""Samples drawn from whole recordings, by the definition: each request by itself, with the chance of its size."""

from __future__ import annotations

import numpy as np

from heapwright.traces.cut import Numbers
from heapwright.traces.events import ALLOC_ZEROED
from heapwright.traces.sampling import chances


def drawn(events, rate, seed):
    """The sample of a process without reallocs."""
    births = events.op <= ALLOC_ZEROED
    chosen = np.random.default_rng(seed).random(births.sum()) < chances(events.size[births], rate)
    kept = np.isin(events.block, events.block[births][chosen])
    return Numbers().renumber(events[kept])
