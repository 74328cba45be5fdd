"""Programs recorded with their call stacks."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

from heapwright.lab.collector import Collector
from heapwright.native.library import recorder_library
from heapwright.traces.format import read
from heapwright.traces.raw_stacks import USUAL_DEPTH, VARIABLE


def record(folder, command, depth=USUAL_DEPTH, **environment):
    """The trace of a program with its call stacks, and the program's status."""
    with (folder / "x.hwt").open("w+b") as file:
        with Collector(folder, file, depth=depth) as collector:
            ours = {"LD_PRELOAD": str(recorder_library()), "HEAPWRIGHT_RECORD": str(collector.path)}
            ours[VARIABLE] = str(depth)
            done = subprocess.run(command, env={**os.environ, **environment, **ours}, timeout=60, check=False)
        collector.complete()
    return read(folder / "x.hwt"), done.returncode


def top_stack(trace):
    """The call stack that asked for most bytes, the innermost frame first."""
    events = trace.largest.events
    asks = events[events.asks]
    total = Counter()
    for site, size in zip(asks.site.tolist(), asks.size.tolist(), strict=True):
        total[site] += size
    return trace.stacks.of(total.most_common(1)[0][0])
