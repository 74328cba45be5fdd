"""A made-up recording with times and call sites: a service that loads a table, serves requests, and makes a report.

load_table    half of the peak, kept until the end; its rows are parsed by parse_row
serve         many temporary blocks, and a cache that is never emptied: remember
report        one buffer that grows again and again, at 3 s; it is the peak, and is freed
"""

from __future__ import annotations

import random

from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, THREAD_EXIT, Events, Process, Trace
from heapwright.traces.stacks import PYTHON, Frame, Stacks

MALLOC = Frame("_PyObject_Malloc", "obmalloc.c", 1560, "/usr/bin/python3")
LIST = Frame("list_resize", "listobject.c", 70, "/usr/bin/python3")
MAIN = Frame("main", "service.py", 90, "", PYTHON)
SERVE = Frame("serve", "service.py", 61, "", PYTHON)
VECTOR = Frame(
    "void std::vector<char, std::allocator<char> >::_M_realloc_insert<char>(char&&)", "vector.tcc", 445, "/x/libr.so"
)
REPORT = Frame("Report::append(std::string const&)", "/src/report.cpp", 33, "/x/libr.so")
LOAD = Frame("load_table", "service.py", 20, "", PYTHON)
STACKS = {
    "table": [LIST, LOAD, MAIN],
    "row": [MALLOC, Frame("parse_row", "service.py", 12, "", PYTHON), LOAD._replace(line=22), MAIN],
    "request": [MALLOC, Frame("decode", "/usr/lib/python3.11/json.py", 337, "", PYTHON), SERVE, MAIN],
    "cache": [MALLOC, Frame("remember", "service.py", 48, "", PYTHON), SERVE, MAIN],
    "report": [Frame("operator new(unsigned long)", "", 0, "/x/libstdc++.so.6"), VECTOR, REPORT],
}


class Story:
    """The calls of one process, with a clock."""

    def __init__(self, stacks: Stacks):
        self.stacks, self.rows, self.blocks, self.time = stacks, [], 0, 1000

    def add(self, op, block, size, site, thread=0, after=3):
        self.time += after
        self.rows.append((op, thread, block, size, self.time, self.stacks.add(STACKS[site]) if site else 0))

    def alloc(self, size, site, thread=0, after=3):
        self.add(ALLOC, self.blocks, size, site, thread, after)
        self.blocks += 1
        return self.blocks - 1

    def free(self, block, thread=0, after=2):
        self.add(DEALLOC, block, 0, "", thread, after)

    def events(self):
        names = "op", "thread", "block", "size", "time", "site"
        return Events.of(**dict(zip(names, zip(*self.rows, strict=True), strict=True)))


def service(requests=4000, rows=600, seed=1):
    """The recording."""
    stacks, chance = Stacks(), random.Random(seed)
    story = Story(stacks)
    kept = [story.alloc(8 * rows, "table", after=5000)] + [
        story.alloc(chance.randint(900, 1400), "row", after=900) for _ in range(rows)
    ]
    buffer = -1
    for number in range(requests):
        block = story.alloc(chance.choice([40, 64, 64, 300]), "request", thread=1 + number % 2, after=500)
        if number % 10 == 0:
            story.alloc(512, "cache", thread=1, after=10)
        story.free(block, thread=1 + number % 2, after=40)
        if number == requests // 2:
            buffer = story.alloc(1024, "report")
            for step in range(1, 11):
                story.add(REALLOC, buffer, 1024 << step, "report", after=2000)
        if number == requests // 2 + requests // 50:
            story.free(buffer, thread=2)
    for block in kept[1::2]:
        story.free(block, after=20)
    story.add(THREAD_EXIT, -1, 0, "", 2)
    process = Process(story.events(), 4711, 1, command="python3 service.py", threads=["python3", "worker", "reporter"])
    return Trace([process], "recording", "python3", ["python3", "service.py"], "2026-11-29T12:00:00+00:00", {}, stacks)
