"""`heapwright record --sample`: estimates for programs whose totals are known, and what other commands do with them."""

from __future__ import annotations

import json
import re
import sys

import pytest

from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, INHERITED, NONE, REALLOC, check
from heapwright.traces.importers import open_trace
from heapwright.traces.sampling import live_figures, requests_of, total_bytes, weights

pytestmark = pytest.mark.long

pytest.importorskip("numba")

RATE = 4096
THREADS, ROUNDS, KEPT = 4, 5000, 2000
PROGRAM = r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *volatile kept[KEPT];
static void *work(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        void *volatile block = malloc(1 + i % 1000);
        free(block);
        block = calloc(3, 50);
        block = realloc(block, 700);
        free(block);
        block = memalign(64, 100);
        free(block);
    }
    return 0;
}
int main(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < KEPT; i++) kept[i] = malloc(500);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], 0, work, 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], 0);
    if (fork() == 0) {
        for (int i = 0; i < KEPT / 2; i++) free(kept[i]);
        for (int i = 0; i < KEPT; i++) kept[i] = malloc(500);
        _exit(0);
    }
    wait(0);
    return 0;
}
"""
EACH = sum(1 + i % 1000 for i in range(ROUNDS)) + ROUNDS * (150 + 700 + 100)
TOTAL, REQUESTS = THREADS * EACH + KEPT * 500, THREADS * ROUNDS * 4 + KEPT


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Record a program with the command; the trace's path, and what was said."""
    from subprocess import run

    def record(*command, sample=f"{RATE}", options=(), **environment):
        import os

        path = tmp_path_factory.mktemp("sample") / "x.hwt"
        heapwright = [sys.executable, "-m", "heapwright", "record", "-o", str(path), "--sample", sample, *options, "--"]
        done = run(
            [*heapwright, *map(str, command)], capture_output=True, text=True, check=False, env=os.environ | environment
        )
        assert done.returncode == 0, done.stderr
        return path, done.stderr

    return record


@pytest.fixture(scope="module")
def recording(sampled, compiled):
    program = compiled(
        PROGRAM, f"-DKEPT={KEPT}", f"-DTHREADS={THREADS}", f"-DROUNDS={ROUNDS}", "-pthread", "-O1", "-fno-builtin"
    )
    path, said = sampled(program)
    return path, said


@pytest.fixture(scope="module")
def trace(recording):
    found = open_trace(recording[0])
    for each in found.processes:
        check(each.events)
    return found


def near(estimate, true):
    """Within five standard errors, and a little for what the C library asks for. One run in a million is not."""
    return abs(estimate.value - true) < 5 * estimate.error + 0.002 * true


def test_the_total_is_within_its_error(trace):
    parent = trace.processes[0]
    estimate = total_bytes(parent.events, parent.sample)
    assert parent.sample == RATE
    assert near(estimate, TOTAL)
    assert 0 < estimate.error < 0.03 * TOTAL


def test_the_number_of_requests_and_each_kind_of_them(trace):
    events = trace.processes[0].events
    for op, size, true in ((ALLOC_ZEROED, 150, 4 * ROUNDS), (REALLOC, 700, 4 * ROUNDS), (ALLOC, 500, KEPT)):
        chosen = events[requests_of(events) & (events.op == op) & (events.size == size)]
        found, each = weights(chosen.size, RATE).sum(), float(weights([size], RATE)[0])
        error = (true * (each - 1)) ** 0.5
        assert abs(found - true) < 5 * error + (op == ALLOC) * THREADS * ROUNDS // 1000
    assert (events.log2_align[(events.op == ALLOC) & (events.size == 100)] == 6).any()


def test_only_blocks_of_the_sample_are_freed(trace):
    events = trace.processes[0].events
    frees = events[events.op == DEALLOC]
    assert (frees.block != NONE).all()
    assert len(frees) < REQUESTS / 8
    live = live_figures(events, RATE)
    assert abs(live["live_bytes_at_end"] - KEPT * 500) < 5 * (KEPT * 500 * RATE) ** 0.5
    assert not trace.notes()


def test_all_threads_are_in_the_sample(trace):
    events = trace.processes[0].events
    assert len(set(events.thread.tolist())) == THREADS + 1


def test_a_forked_child_inherits_the_sample_and_chooses_for_itself(trace):
    parent, child = trace.processes
    inherited = (child.events.flags & INHERITED) != 0
    assert child.parent == parent.pid
    assert 20 < inherited.sum() < KEPT / 2
    assert (child.events.op == DEALLOC).sum() == inherited.sum()
    assert near(total_bytes(child.events, RATE), KEPT * 500)
    own = child.events.size[~inherited & child.events.asks]
    assert len(own) != (parent.events.size == 500).sum()


def test_python_objects_of_a_known_size(sampled):
    code = "keep = [bytes(10_000) for _ in range(3000)]"
    path, _ = sampled(sys.executable, "-S", "-c", code, sample="64K", options=["--call-sites"])
    trace = open_trace(path)
    events = trace.largest.events
    wanted = events[events.size == 10_033]
    estimate = total_bytes(wanted, 1 << 16)
    assert near(estimate, 3000 * 10_033)
    frames = {frame.function for site in set(wanted.site.tolist()) for frame in trace.stacks.of(site)}
    assert {"<module>", "<listcomp>"} & frames or sys.version_info >= (3, 14)


# --- what is said


def test_the_command_says_what_the_sample_stands_for(recording):
    assert re.search(r"from 2 processes .*; about \d\.\d MiB ± \d %? were asked for; |about .* ± ", recording[1])


def test_info_has_the_rate_and_estimates(recording, heapwright):
    done = heapwright("trace", "info", recording[0])
    assert "a request in every 4.0 KiB on average; about " in done.stdout
    facts = json.loads(heapwright("trace", "info", recording[0], "--json").stdout)
    assert facts["processes"][0]["sample"] == RATE
    assert facts["requested"]["error"] > 0
    peak = facts["processes"][0]["estimates"]["peak_live_bytes"]
    assert peak > 2 * facts["processes"][0]["summary"]["peak_live_bytes"]


def test_the_report_has_errors_and_says_what_it_cannot_know(recording, heapwright):
    text = heapwright("report", recording[0], "--process", "1").stdout
    assert "sampled requests of 5 threads" in text
    assert "a sample, a request in every 4 KiB on average" in text
    assert "temporary:" not in text
    assert "reallocs:" not in text
    found = json.loads(heapwright("report", recording[0], "--process", "1", "--json").stdout)
    assert (found["temporary"], found["growth"]) == (None, None)
    assert abs(found["requests"]["bytes"] - TOTAL) < 5 * found["requests"]["error"] + 0.002 * TOTAL
    assert all(row["error"] > 0 for row in found["requests"]["callers"])


def test_commands_that_replay_refuse_a_sample(recording, refused):
    path = recording[0]
    line = "is a sample, and a replay needs all requests: record again without --sample"
    replays = [(name, path) for name in ("compare", "smallest", "blame", "advise")]
    replays.append(("diverge", path, "-a", "kr", "-a", "buddy"))
    for arguments in (*replays, ("simulate", path, "-a", "kr"), ("convert", path, path.with_suffix(".rep"))):
        assert line in refused(*arguments)


@pytest.mark.parametrize(
    ("value", "why"), [("0", "no number of bytes"), ("2G", "is too much"), ("x", "no number of bytes")]
)
def test_rates_that_make_no_sense(refused, value, why, tmp_path):
    assert why in refused("record", "-o", tmp_path / "x.hwt", "--sample", value, "--", "true")


def test_a_sample_without_a_request_is_a_trace_and_the_status_the_programs(heapwright, tmp_path):
    done = heapwright("record", "--sample", "1G", "-o", tmp_path / "a.hwt", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3, done.stderr
    assert "0 events from 0 processes" in done.stderr
    assert "no request is in the sample: a smaller --sample records more" in done.stderr
    shown = heapwright("report", tmp_path / "a.hwt")
    assert (shown.returncode, "has no processes" in shown.stderr) == (2, True)
