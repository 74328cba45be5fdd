"""Merge recordings: the processes of several traces in one file, each with its own events.

If all recordings have dates and times, times count from the earliest one. Otherwise each keeps its own times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from heapwright.files import written_whole
from heapwright.traces.arrays import U32, np
from heapwright.traces.events import Events, Summary, TraceError
from heapwright.traces.format import RUN_FACTS, Writer
from heapwright.traces.passing import Tally, add_chunk
from heapwright.traces.sources import Source, duration
from heapwright.traces.stacks import UNKNOWN, Stacks


def merge(sources: Sequence[Source], path: Path) -> Summary:
    """Write the processes of all sources to `path`, and return the summary of the whole."""
    headers = [source.header for source in sources]
    delays = delays_of(headers) if all(map(duration, sources)) else [0] * len(sources)
    stacks = Stacks()
    processes: list[dict[str, Any]] = []
    with written_whole(path) as file:
        writer = Writer(file)
        for source, header, delay in zip(sources, headers, delays, strict=True):
            sites = merged(source.stacks, stacks)
            for place, facts in enumerate(header["processes"]):
                copy(writer, len(processes), (moved(each, delay, sites) for each in source.chunks(place)))
                command = facts["command"] or " ".join(header["command"])
                processes.append(facts | {"command": command})
        total = sum((Summary(**facts["summary"]) for facts in processes), Summary())
        writer.finish(facts_of(headers) | {"processes": processes, "summary": asdict(total)}, stacks)
    return total


def copy(writer: Writer, process: int, chunks: Iterator[Events]) -> None:
    """Write the chunks of one process under its new number."""
    tally = Tally()
    for events in chunks:
        add_chunk(writer, process, events, tally)


def delays_of(headers: list[dict[str, Any]]) -> list[int]:
    """The microseconds from the earliest beginning to that of each recording; 0 if one has no date."""
    if not all(header["date"] for header in headers):
        return [0] * len(headers)
    began = [datetime.fromisoformat(header["date"]).timestamp() for header in headers]
    return [round((each - min(began)) * 1_000_000) for each in began]


def merged(added: Stacks, into: Stacks) -> U32:
    """Add all stacks to others. For each, its number there."""
    sites = [UNKNOWN]
    for parent, frame in zip(added.parents[1:], added.innermost[1:], strict=True):
        sites.append(into.under(sites[parent], added.frames[frame]))
    return np.array(sites, np.uint32)


def moved(events: Events, delay: int, sites: U32) -> Events:
    """The events with the times and call stacks of the merged trace."""
    if len(events) and int(events.site.max()) >= len(sites):
        raise TraceError("a trace refers to a call stack that it does not have; record again")
    return replace(events, time=events.time + delay, site=sites[events.site])


def facts_of(headers: list[dict[str, Any]]) -> dict[str, Any]:
    """The facts of the run: those of the first recording, and what all have in common."""
    first = headers[0]
    facts = {name: first[name] for name in RUN_FACTS}
    hosts = [header["host"] for header in headers]
    dates = [header["date"] for header in headers]
    return facts | {
        "source": f"{len(headers)} traces, merged",
        "date": min(dates) if all(dates) else "",
        "host": first["host"] if all(host == first["host"] for host in hosts) else {},
    }
