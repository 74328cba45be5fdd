"""jemalloc's heap profiles, which `MALLOC_CONF=prof:true,prof_final:true` writes, for one moment of a program.

    heap_v2/<sample period, in bytes>
      t*: <objects>: <bytes> [<objects>: <bytes>]        all threads: in use, and since the start (with prof_accum)
      t<thread>: …
    @ <address> <address> …                              a call stack, innermost first
      t*: …
      t<thread>: <objects>: <bytes> [<objects>: <bytes>]

    MAPPED_LIBRARIES:
    <lines of /proc/PID/maps>

A profile is a state and no history. It becomes a trace of allocations alone: for each call stack and thread, as many
blocks as are estimated to be in use, all of their average size. A block of s bytes is sampled with the probability
1 - exp(-s / period), so each sampled one stands for the inverse of that. A replay of such a trace says nothing; a
report of it says who holds the memory. Source: jemalloc 4 to 5.3, src/prof_data.c, bin/jeprof.in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from heapwright.traces.arrays import np
from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC, Events, Process, Trace, TraceError
from heapwright.traces.importers.log import misunderstood
from heapwright.traces.importers.modules import Mapping, Modules
from heapwright.traces.stacks import UNKNOWN, Stacks

START = b"heap_v2/"
PERIOD = re.compile(r"heap_v2/(\d{1,18})")
COUNTS = re.compile(r"t(\*|\d{1,18}): (\d{1,18}): (\d{1,18}) \[\d+: \d+\]")
MAPPED = "MAPPED_LIBRARIES:"
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ *(.*)")
STATE = "blocks in use, as allocations: a heap profile has no history"
AVERAGED = "blocks with the average size of their call stack"
ESTIMATED = "blocks estimated from samples"
MAX_BLOCKS = 50_000_000


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return start.startswith(START)


def read(text: bytes) -> Trace:
    """The trace of a profile. Raises TraceError with the number of the first line that breaks the format."""
    profile, _, maps = text.decode(errors="replace").partition(MAPPED)
    lines = list(enumerate(profile.split("\n"), 1))
    period = PERIOD.fullmatch(lines[0][1].strip())
    if not period:
        raise misunderstood(*lines[0], "the sample period is no number")
    stacks, modules = Stacks(), Modules(list(mappings(maps)))
    rows = list(rows_of(lines[1:], stacks, modules, int(period[1])))
    return Trace([process_of(rows)], source="jemalloc heap profile", stacks=stacks)


Row = tuple[int, int, int, int, int]  # site, thread, sampled objects, estimated objects, size of each


def rows_of(lines: list[tuple[int, str]], stacks: Stacks, modules: Modules, period: int) -> Iterator[Row]:
    """The blocks of each call stack and thread. The lines before the first stack are the totals."""
    site: int | None = None
    for number, line in lines:
        text = line.strip()
        if text.startswith("@"):
            site = site_of(number, text, stacks, modules)
        elif counts := COUNTS.fullmatch(text):
            objects, size = int(counts[2]), int(counts[3])
            if site is not None and counts[1] != "*" and objects:
                average = size // objects
                yield site, int(counts[1]), objects, estimate(objects, average, period), average
        elif text:
            raise misunderstood(number, text, "it is no call stack and no count")


def site_of(number: int, text: str, stacks: Stacks, modules: Modules) -> int:
    try:
        addresses = [int(word, 16) for word in text[1:].split()]
    except ValueError:
        raise misunderstood(number, text, "an address in it is none") from None
    site = UNKNOWN
    for address in reversed(addresses):
        site = stacks.under(site, modules.frame(address))
    return site


def estimate(objects: int, size: int, period: int) -> int:
    """How many blocks of a size there are if so many were sampled."""
    if period <= 1 or not size:
        return objects
    return round(objects / -math.expm1(-size / period))


def process_of(rows: list[Row]) -> Process:
    blocks = sum(row[3] for row in rows)
    if blocks > MAX_BLOCKS:
        raise TraceError(f"it stands for {blocks:,} blocks, more than {MAX_BLOCKS:,}: use jeprof for it")
    site, thread, _, repeats, size = np.array(rows, np.int64).reshape(-1, 5).T
    _, thread = np.unique(thread, return_inverse=True)
    process = Process(
        Events.of(
            op=np.full(blocks, ALLOC),
            thread=np.repeat(thread, repeats),
            block=np.arange(blocks),
            size=np.repeat(size, repeats),
            site=np.repeat(site, repeats),
        )
    )
    note(process.notes, STATE, blocks)
    note(process.notes, AVERAGED, sum(row[3] for row in rows if row[2] > 1))
    note(process.notes, ESTIMATED, sum(row[3] for row in rows if row[3] != row[2]))
    return process


def mappings(maps: str) -> Iterator[Mapping]:
    """The mapped files in lines of /proc/PID/maps."""
    for line in maps.split("\n"):
        if match := MAPPING.fullmatch(line.strip()):
            start, end, offset = (int(match[place], 16) for place in (1, 2, 3))
            if match[4].startswith("/"):
                yield Mapping(start, end, start - offset, match[4])
