"""Recorded threads as real threads: their names and order, their memory, and what cannot be done."""

import json
import subprocess
from random import Random

import pytest

from heapwright.lab.causal.plan import plan
from heapwright.lab.causal.replay import replay
from heapwright.lab.contestant import Contestant
from heapwright.lab.naming import contestant
from heapwright.lab.sample import RunError
from heapwright.traces.events import ALLOC, DEALLOC, NONE, THREAD_EXIT, Events, Process, Trace, summarize
from heapwright.traces.format import write

pytestmark = pytest.mark.long


def passed_on(threads, rounds, seed=1):
    """Threads that allocate blocks of many sizes and free those of any thread, beside a large block."""
    random, held, rows, blocks = Random(seed), [], [(ALLOC, 0, 0, 400_000)], 1
    for i in range(rounds):
        thread = i % threads if i < threads else random.randrange(threads)
        if len(held) < 50 or random.random() < 0.5:
            rows.append((ALLOC, thread, blocks, random.randint(1, 3000)))
            held.append(blocks)
            blocks += 1
        else:
            rows.append((DEALLOC, thread, held.pop(random.randrange(len(held))), 0))
    return Events.of(**dict(zip(("op", "thread", "block", "size"), zip(*rows, strict=True), strict=True)))


SYSTEM = contestant("system")


def test_memory_is_that_of_the_recording():
    events = passed_on(threads=5, rounds=20_000)
    summary, made = summarize(events), plan(events)
    found = replay(made, SYSTEM, 2, timeout=100)
    assert found.failures == 0
    assert found.memory.at_peak.requested == summary.peak_live_bytes
    assert found.memory.at_end.requested == summary.live_bytes_at_end
    assert summary.peak_live_bytes <= found.most_live <= 1.01 * summary.peak_live_bytes
    assert 0 <= found.beyond <= 0.01
    assert found.memory.retained >= 0
    assert found.heap_bytes > summary.peak_live_bytes
    assert made.order.handovers > 1000
    assert all(each.wall > 0 and each.cpu > 0 and each.idle_wall > 0 for each in found.passes)


def test_thousands_of_threads_that_live_one_after_another():
    kinds = [(ALLOC, 100), (DEALLOC, 0), (THREAD_EXIT, 0)]
    rows = [(ALLOC, 0, 0, 100)]
    for thread in range(1, 1500):
        rows += [(op, thread, NONE if op == THREAD_EXIT else thread, size) for op, size in kinds]
    op, thread, block, size = zip(*rows, strict=True)
    made = plan(Events.of(op=op, thread=thread, block=block, size=size))
    assert (made.order.threads, made.order.alive) == (1500, 2)
    assert replay(made, SYSTEM, 1, timeout=100).failures == 0


@pytest.fixture
def library(tmp_path):
    """A malloc of C code on top of the C library's."""

    def build(code):
        source, library = tmp_path / "witness.c", tmp_path / "witness.so"
        source.write_text(WITNESS + code)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        return library

    return build


WITNESS = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
extern void *__libc_malloc(unsigned long); extern void __libc_free(void *);
extern void *__libc_calloc(unsigned long, unsigned long); extern void *__libc_realloc(void *, unsigned long);
void free(void *p) { __libc_free(p); }
void *calloc(unsigned long n, unsigned long s) { return __libc_calloc(n, s); }
void *realloc(void *p, unsigned long n) { return __libc_realloc(p, n); }
"""
TELLS_WHO = """
void *malloc(unsigned long n) {
  if (n >= 5000) {
    char name[17] = "", line[64];
    prctl(PR_GET_NAME, name);
    int file = open(getenv("MALLOC_WITNESS"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    write(file, line, snprintf(line, sizeof line, "%lu %d %s\\n", n, gettid(), name));
    close(file);
  }
  return __libc_malloc(n);
}
"""
NO_THREADS = """
void *malloc(unsigned long n) { return __libc_malloc(n); }
int pthread_create(void *a, void *b, void *c, void *d) { return 11; }
"""


def test_each_recorded_thread_is_a_thread_with_its_name(library, tmp_path):
    told = tmp_path / "told"
    events = Events.of(
        op=[ALLOC] * 6, thread=[0, 1, 2, 1, 0, 2], block=range(6), size=[5000, 5001, 5002, 5001, 5000, 5002]
    )
    witness = Contestant("witness", library(TELLS_WHO), (("MALLOC_WITNESS", str(told)),))
    replay(plan(events, ["server", "a-name-that-is-too-long", "worker"]), witness, 1, timeout=100)
    lines = [line.split(maxsplit=2) for line in told.read_text().splitlines()]
    assert {(size, name) for size, _, name in lines} == {
        ("5000", "server"), ("5001", "a-name-that-is-"), ("5002", "worker")
    }  # fmt: skip
    assert len({number for _, number, _ in lines}) >= 1 + 2 * 2, "two passes start two threads each"


def test_a_thread_that_cannot_be_started_is_said(library):
    events = Events.of(op=[ALLOC, ALLOC], thread=[0, 1], block=[0, 1], size=[1, 1])
    with pytest.raises(RunError, match="could not start a thread: raise ulimit -u"):
        replay(plan(events), Contestant("alone", library(NO_THREADS)), 1, timeout=100)


# --- the command


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "threads.hwt"
    write(path, Trace([Process(passed_on(threads=3, rounds=2000), 7, command="server", threads=["a", "b", "c"])]))
    return path


def test_the_command_says_how_much_was_ordered(heapwright, recording):
    done = heapwright("compare", recording, "--threads", "-a", "system", "-n", 1, "--memory")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].startswith("3 threads, at most 3 at one time, in causal order: ")
    assert "of all events; with live memory" in lines[3]
    assert lines[4].startswith("live memory was at most 0.")
    assert lines[5].split()[:2] == ["allocator", "warm"]
    assert {line.split()[1] for line in lines if line.startswith("system")} >= {"peak", "end", "freed"}


def test_the_json_of_a_replay_on_threads(heapwright, recording):
    report = json.loads(heapwright("compare", recording, "--threads", "-a", "system", "-n", 2, "--json").stdout)
    [result] = report["results"]
    assert report["order"]["threads"] == 3
    assert result["beyond_curve"] <= 0.01
    assert result["memory"]["requested_bytes"] == report["trace"]["peak_live_bytes"]
    assert result["processor"]["seconds"] > 0
    assert result["spread"] is not None


def test_single_calls_are_not_timed_on_threads(heapwright, recording):
    done = heapwright("compare", recording, "--threads", "--latency")
    assert done.returncode == 2
    assert "--latency has no effect with --threads" in done.stderr
