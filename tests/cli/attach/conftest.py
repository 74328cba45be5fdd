"""Programs that run, and recordings of them."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from running import HEAD, Running

from heapwright.traces.events import check
from heapwright.traces.importers import open_trace


@pytest.fixture
def run(tmp_path):
    """Start a program."""
    started = []

    def start(*command, **options):
        started.append(Running(tmp_path, *command, **options))
        time.sleep(0.2)
        return started[-1]

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            each.process.kill()
        each.process.wait()


@pytest.fixture
def attach(heapwright, tmp_path):
    """Record a running program; the trace, and what was said."""

    def record(program, *options, status=0):
        done = heapwright("attach", program.pid, "-o", tmp_path / "x.hwt", *(options or ("--for", "1")))
        assert done.returncode == status, done.stderr
        trace = open_trace(tmp_path / "x.hwt")
        for each in trace.processes:
            check(each.events)
        return trace, done.stderr

    return record


@pytest.fixture
def built(compiled):
    return lambda source, *options: compiled(HEAD + source, "-pthread", *options)
