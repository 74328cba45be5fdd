"""Rings of records as the recorder would have left them, and the traces that they become."""

from __future__ import annotations

import struct

from heapwright.lab import converter, recorded
from heapwright.lab.sites import Sites
from heapwright.traces import raw
from heapwright.traces.events import check, summarize
from heapwright.traces.format import TraceFile, Writer

END = 1 << 61  # a stamp after all others


def record(stamp, op, block=0, *, old=0, size=0, thread=0, phase=1, log2_align=0, site=0):
    return (thread, phase), struct.pack("<QBBHIQQQ", stamp, op, log2_align, 0, site, block, old, size)


def process_chunks(records, number, *, pid=1, parent=0, forked_from=0, forked_at=0, command=b"ls\0-l\0"):
    """The chunks of one process: each thread fills its own in each phase. The first one begins with the process."""
    facts = struct.pack("<IIQQ", pid, parent, forked_from, forked_at) + command.ljust(1016, b"\0")
    parts = [(facts, (0, 1), [])]
    for owner in sorted({owner for owner, _ in records}):
        for data in (data for each, data in records if each == owner):
            start, _, part = parts[-1]
            if parts[-1][1] != owner or len(start) // 40 + len(part) == raw.RECORDS_PER_CHUNK:
                parts.append((b"", owner, part := []))
            part.append(data)
    later = [thread for _, (thread, _), _ in parts]
    chunks = []
    for start, (thread, phase), part in parts:
        del later[0]
        count, has_left = len(start) // 40 + len(part), thread in later
        head = struct.pack("<IIQIIQQ", number, thread, count, 0, bool(start), has_left, phase)
        chunks.append(head + start + b"".join(part))
    return chunks


class Stopped:
    """The clock of a run that began at stamp `began` and took `ticks`, which are `elapsed` nanoseconds."""

    def __init__(self, began=0, ticks=END, elapsed=0):
        self.began, self._now = began, (began + ticks, elapsed)

    def now(self, header):
        return self._now


def write_ring(path, processes, change):
    """A ring with the chunks of some processes, which have the numbers 1, 2 and so on. Returns how many there are."""
    chunks = [
        each
        for number, (records, facts) in enumerate(processes, 1)
        for each in process_chunks(records, number, **facts)
    ]
    ring = bytearray(b"".join(chunk.ljust(raw.CHUNK_BYTES, b"\0") for chunk in chunks))
    change(ring)
    path.write_bytes(bytes(raw.HEADER_BYTES) + ring)
    return len(chunks)


def convert(folder, *processes, change=len, clock=None, **facts):
    """The trace of a ring with some processes, each its records and what `process_chunks` takes.

    `change` may damage the chunks; `facts` are those of the ring's header.
    """
    count = write_ring(folder / "ring", processes, change)
    with (folder / "x.hwt").open("w+b") as trace, (folder / "ring").open("r+b") as ring:
        conversion = converter.Converter(ring.fileno(), clock or Stopped())
        writer, family, sites = Writer(trace), recorded.Family(), Sites()
        header = {"stopped": raw.ENDED, "full": (0, 0), "unmapped": (0, 0), "clock_time": 1} | facts
        conversion.header.clock = header["clock_time"]
        conversion.header.stopped.store(header["stopped"])
        conversion.header.is_controlled = header.get("is_controlled", 0)
        for name in ("full", "unmapped"):
            loss = getattr(conversion.header, name)
            loss.processes.store(header[name][0])
            loss.calls.store(header[name][1])
        conversion.enlarge(count)
        conversion.issue(count)
        for process in conversion.convert():
            conversion.hand_over(process, writer, sites)
        conversion.release()
        family.finish(conversion, lambda process: conversion.hand_over(process, writer, sites))
        stacks, of_sites, notes = sites.stacks(family.parents)
        writer.finish(family.header(notes), stacks, family.numbers, of_sites)
        conversion.close()
    with TraceFile(folder / "x.hwt") as file:
        found = file.decode_all()
        assert file.summaries == [summarize(each.events) for each in found.processes]
    for process in found.processes:
        check(process.events)
    return found
