"""glibc's mtrace text: what the C library writes, of failures and forks too, and what damage does."""

import ctypes.util
import shutil
import subprocess

import numpy as np
import pytest
from rows import rows

from heapwright.traces import calls
from heapwright.traces.events import ALLOC, DEALLOC, FAILED, NONE, REALLOC, TraceError, summarize
from heapwright.traces.importers import mtrace, text

MTRACE = b"""\
= Start
@ ./prog:(main+0x1b)[0x55d0c0de] + 0x55d1 0x18
@ /lib/a file.so:[0x7f00] + 0x66d1 0x100
@ [0x40] - 0x55d1
+ 0x55d1 0
@ x < 0x66d1
@ x > 0x77d1 0x200
@ x ! 0x77d1 0x7fffffffffffffff
- 0x77d1
@ x - 0x99d1
= End
"""


def test_mtrace(open_text):
    trace = open_text(MTRACE)
    assert rows(trace.events) == [
        (ALLOC, 0, 24), (ALLOC, 1, 256), (DEALLOC, 0, 0), (ALLOC, 2, 0), (REALLOC, 1, 512), (REALLOC, 1, 2**63 - 1),
        (DEALLOC, 1, 0),
    ]  # fmt: skip
    assert trace.events.flags.tolist() == [0, 0, 0, 0, 0, FAILED, 0]
    assert trace.notes() == {calls.UNMATCHED_FREE: 1}


@pytest.mark.parametrize(
    "line", [b"hello", b"@ x + 0x10", b"@ x > 0x10 0x5", b"@ x + 10 0x5", b"@ x ? 0x10", b"- (null)"]
)
def test_a_line_that_is_not_mtrace_is_named(open_text, line):
    with pytest.raises(TraceError, match="line 2 is not understood"):
        open_text(b"= Start\n" + line + b"\n+ 0x10 0x5\n")


MTRACE_NULLS = b"""\
= Start
@ ./prog:[0x11be] + (nil) 0x3fffffffffffffff
@ ./prog:[0x11cc] + 0x5500 0x8
@ ./prog:[0x11dd] ! (nil) 0x3fffffffffffffff
@ ./prog:[0x11ee] - (nil)
@ ./prog:[0x11ff] ! 0x5500 0xfffffffffffffc18
@ [0x1200] - 0x5500
= End
"""


def test_mtrace_of_calls_that_failed(open_text):
    trace = open_text(MTRACE_NULLS)
    assert rows(trace.events) == [
        (ALLOC, NONE, 0x3FFFFFFFFFFFFFFF), (ALLOC, 0, 8), (REALLOC, NONE, 0x3FFFFFFFFFFFFFFF), (DEALLOC, NONE, 0),
        (REALLOC, 0, 0xFFFFFFFFFFFFFC18), (DEALLOC, 0, 0),
    ]  # fmt: skip
    assert np.flatnonzero(trace.events.failed).tolist() == [0, 2, 4]
    assert not trace.notes()


@pytest.mark.parametrize("first", [b"+ (nil) 0x5", b"@ x ! (nil) 0x5", b"@ a b.so:[0x1] - 0x10", b"- (nil)"])
def test_mtrace_is_known_by_any_first_line(open_text, first):
    assert open_text(first + b"\n+ 0x10 0x5\n").source == "glibc mtrace text"


def test_mtrace_of_a_forked_child_is_a_process_of_its_own(open_text):
    child = b"= Start\n+ 0x10 0x5\n- 0x10\n"
    parent = b"= Start\n+ 0x10 0x5\n+ 0x20 0x6\n= End\n"
    trace = open_text(child + parent)
    assert [rows(each.events) for each in trace.processes] == [
        [(ALLOC, 0, 5), (DEALLOC, 0, 0)],
        [(ALLOC, 0, 5), (ALLOC, 1, 6)],
    ]
    assert not trace.notes()


@pytest.mark.parametrize("line", [b"+ 0x20 0x5 0x6", b"- 0x10 0x5", b"@ x ! 0x10 0x5 y z", b"- 0x10 \xff"])
def test_a_field_that_is_not_known_does_not_cost_the_log(open_text, line):
    trace = open_text(b"= Start\n+ 0x10 0x5\n" + line + b"\n")
    assert len(trace.events) == 2
    assert trace.notes() == {text.UNKNOWN_FIELDS: 1}


def test_what_follows_an_end_is_another_process_that_may_begin_within_a_line(open_text):
    child = b"= Start\n@ x + 0x10 0x5\n@ x + 0x20 0x6\n= End\n"
    parent = b"0x20 0x6\n@ x - 0x10\n@ x - 0x10\n@ x + 0x30 0x7\n= End\n"
    trace = open_text(child + parent)
    assert [rows(each.events) for each in trace.processes] == [
        [(ALLOC, 0, 5), (ALLOC, 1, 6)],
        [(ALLOC, 0, 7)],
    ]
    assert trace.notes() == {mtrace.TORN: 1, calls.UNMATCHED_FREE: 2}
    with pytest.raises(TraceError, match="line 6 is not understood"):
        open_text(child + b"@ x - 0x10\n0x30 0x6\n")


def test_nothing_but_a_start_is_a_trace_of_nothing(open_text):
    assert len(open_text(b"= Start\n").events) == len(open_text(b"= Start\n= End\n").events) == 0


# --- the C library's own

EVERY_CALL = r"""
#include <malloc.h>
#include <mcheck.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char **arguments) {
    volatile size_t huge = -1000;
    mtrace();
    void *block = malloc(0);
    free(block);
    block = reallocarray(calloc(3, 5), 10, 10);
    realloc(block, huge);
    malloc(huge), realloc(NULL, huge), aligned_alloc(4096, huge);
    free(memalign(64, 10));
    if (count > 1) {
        if (fork() == 0) exit(0);
        wait(NULL);
    }
    block = realloc(block, 10);
    free(block);
    muntrace();
    return 0;
}
"""


@pytest.fixture
def traced(tmp_path):
    """What glibc writes of a program that is run with these arguments."""
    debug = ctypes.util.find_library("c_malloc_debug")
    if not (debug and shutil.which("gcc")):
        pytest.skip("gcc or libc_malloc_debug.so.0 is not installed")
    (tmp_path / "program.c").write_text(EVERY_CALL)
    subprocess.run(["gcc", "-w", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)

    def run(*arguments):
        log = tmp_path / "log"
        environment = {"LD_PRELOAD": debug, "MALLOC_TRACE": str(log)}
        subprocess.run([tmp_path / "program", *arguments], env=environment, check=True)
        return log.read_bytes()

    return run


def test_what_glibc_writes_is_read_whole(open_text, traced):
    trace = open_text(traced())
    assert not trace.notes()
    assert len(trace.processes) == 1
    assert trace.events.failed.sum() == 4
    assert summarize(trace.events).live_blocks_at_end == 0
    assert sorted(trace.events.size[trace.events.asks & ~trace.events.failed].tolist()) == [0, 10, 10, 15, 100]


def test_what_glibc_writes_of_a_fork_is_read(open_text, traced):
    trace = open_text(traced("fork"))
    assert len(trace.processes) == 2
    assert set(trace.notes()) <= {mtrace.TORN, calls.UNMATCHED_FREE, calls.UNMATCHED_REALLOC}
    assert summarize(trace.events).blocks == 3  # the child's, who has a copy of what came before the fork


def test_the_two_lines_of_a_realloc_may_be_torn_apart(open_text):
    child = b"= Start\n@ x + 0x10 0x5\n@ x < 0x10\n@ x > 0x20 0x6\n@ x - 0x20\n"
    trace = open_text(child + b"> 0x20 0x6\n@ x - 0x20\n")
    assert [len(each.events) for each in trace.processes] == [3, 0]
    assert trace.notes() == {mtrace.TORN: 1, calls.UNMATCHED_FREE: 1}


def test_mtrace_cut_anywhere_gives_what_is_whole(open_text):
    for length in range(7, len(MTRACE)):
        notes = open_text(MTRACE[:length]).notes()
        assert set(notes) <= {mtrace.TORN, mtrace.UNFINISHED, calls.UNMATCHED_FREE}
