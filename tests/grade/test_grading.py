"""What a grade consists of: the subjects, the traces, the score and its lessons."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time

import pytest

from heapwright.errors import UserError
from heapwright.grade import grading, sandbox, stories, submission
from heapwright.grade.judge import Figures, Growth
from heapwright.grade.lessons import lessons, places
from heapwright.grade.player import REGION_START
from heapwright.grade.requests import EITHER, NO_BLOCK, Request, malloc, of_events, peak_payload, realloc
from heapwright.grade.timing import Time
from heapwright.traces.events import (
    ALLOC,
    DEALLOC,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    Process,
    Trace,
    TraceError,
    no_events,
)
from heapwright.traces.format import write

PLAIN = """
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
/* A heap of C's functions that never frees. */
static void *take(size_t align, size_t size) {
  if (size > 1 << 30) return NULL;
  char *here = sbrk(0);
  size_t gap = -(size_t)here & (align - 1);
  return sbrk(gap + ((size + 16) & ~(size_t)15)) == (void *)-1 ? NULL : here + gap;
}
void *malloc(size_t size) { return take(16, size); }
void *memalign(size_t align, size_t size) { return take(ALIGN, size); }
void *calloc(size_t count, size_t size) { char *p = take(16, count * size); if (p && DIRT) p[size - 1] = 1; return p; }
void free(void *block) {}
void *realloc(void *block, size_t size) {
  char *moved = take(16, size);
  return block && moved ? memcpy(moved, block, size) : moved;
}
"""


@pytest.fixture
def plain(sandbox, tmp_path):
    """Judge a library of C's functions on one duty."""

    def run(duty, align="align", dirt="0"):
        (tmp_path / "plain.c").write_text(PLAIN)
        flags = ["-O1", "-w", "-shared", "-fPIC", "-fno-builtin", f"-DALIGN={align}", f"-DDIRT={dirt}"]
        subprocess.run(["cc", *flags, "-o", tmp_path / "plain.so", tmp_path / "plain.c"], check=True)
        grader = grading.Grader(tmp_path, grading.Rules(), lambda line: None)
        subject = submission.Subject("plain", submission.MALLOC, tmp_path / "plain.so", 16)
        return grader.on_duty(subject, next(each for each in stories.DUTIES if each.name == duty)).failure

    return run


def test_a_library_of_plain_functions(plain):
    assert plain("alignment") is None
    assert plain("zeroing") is None


def test_memalign_owes_its_alignment(plain):
    assert plain("alignment", align="16").rule == "aligned"


def test_calloc_owes_zeros(plain):
    assert plain("zeroing", dirt="size > 500").rule == "zeroed"


@pytest.mark.parametrize("name", ["kr", "slab"])
def test_heapwrights_own_allocators_keep_every_duty(sandbox, tmp_path, name):
    """Compiled, over the break and mappings that the driver serves from its region."""
    grader = grading.Grader(tmp_path, grading.Rules(seed=3), lambda line: None)
    subject = submission.reference(name)
    outcomes = grader.together([lambda duty=duty: grader.on_duty(subject, duty) for duty in stories.DUTIES])
    assert [each.failure for each in outcomes] == [None] * len(stories.DUTIES)


# --- the score


def grade_of(utilizations, own, reference, weight=60):
    times = Time(1, [own, 9 * own], [reference])
    figures = [Figures(1, round(1000 * part), 1000) for part in utilizations]
    traces = [grading.OnTrace("t", "", figures=each, time=times) for each in figures]
    return grading.Grade("mm.c", grading.Rules(weight=weight), grading.Outcome("builds", ""), traces=traces)


@pytest.mark.parametrize(
    ("utilizations", "own", "reference", "weight", "score"),
    [
        ([0.5, 1.0], 200, 100, 60, 60 * 0.75 + 40 * 0.5),
        ([0.5], 50, 100, 60, 60 * 0.5 + 40),  # beyond the reference there are no more points
        ([1.0], 400, 100, 0, 25),
        ([0.25], 400, 100, 100, 25),
    ],
)
def test_the_score_is_the_stated_sum(utilizations, own, reference, weight, score):
    assert grade_of(utilizations, own, reference, weight).score == pytest.approx(score)


def test_a_failure_anywhere_is_a_score_of_0():
    grade = grade_of([1.0], 100, 100)
    grade.duties = [grading.Outcome("sizes", "", grading.Failure("served", "no"))]
    assert grade.score == 0
    grade.duties[0].is_forgiven = True
    assert grade.score == pytest.approx(100)


# --- traces


def test_the_drawn_traces_depend_on_the_seed_alone():
    assert grading.drawn_traces(1) == grading.drawn_traces(1)
    assert all(grading.drawn_traces(1)[name] != grading.drawn_traces(2)[name] for name in grading.drawn_traces(1))


def test_the_requests_of_events():
    events = Events.of(
        op=[ALLOC, DEALLOC, REALLOC, ALLOC, THREAD_EXIT, ALLOC],
        thread=[0] * 6,
        block=[0, NONE, 0, 1, NONE, NONE],
        size=[40, 0, 0, 0, 0, 9],
        flags=[0, 0, 0, 0, 0, 1],
    )
    expected = [malloc(0, 40), Request(DEALLOC, NO_BLOCK, expects=EITHER), realloc(0, 1, EITHER), malloc(1, 0, EITHER)]
    assert of_events(events) == expected
    assert peak_payload(expected) == 40


def test_traces_of_the_same_name_are_both_graded(tmp_path):
    for name, size in (("a", 40), ("b", 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.rep").write_text(f"1\n1\n1\n1\na 0 {size}\n")
    read = grading.read_traces([tmp_path / "a", tmp_path / "b" / "t.rep"])
    assert [requests[0].size for requests in read.values()] == [40, 50]


def test_traces_that_cannot_be_graded_are_refused(tmp_path):
    (tmp_path / "wild.rep").write_text(f"1\n1\n1\n1\na 0 {1 << 40}\n")
    with pytest.raises(TraceError, match=r"wild.rep: more than 1 GiB are live at its peak"):
        grading.read_traces([tmp_path])
    write(tmp_path / "none.hwt", Trace([Process(no_events())]))
    with pytest.raises(TraceError, match="none.hwt: has no requests"):
        grading.read_traces([tmp_path / "none.hwt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError, match="there is no trace"):
        grading.read_traces([tmp_path / "empty"])


# --- lessons


def growth(size, blocks):
    placed = [(REGION_START + start, REGION_START + end) for start, end in blocks]
    return Growth(9, malloc(8, size), 8192, [*placed, (REGION_START + 8000, REGION_START + 8000 + size)], placed, 8192)


@pytest.mark.parametrize(
    ("size", "blocks", "said"),
    [
        (100, [(16, 1000), (2000, 3000)], "a hole of 1,000 bytes was large enough"),
        (900, [(16, 1000), (1500, 3000), (3500, 4000)], "1,000 bytes in 2 holes were free, but the largest has 500"),
        (100, [(16, 1000), (1016, 3000)], "no room for it below the highest block: 0 bytes in 0 holes"),
    ],
)
def test_a_lesson_says_why_the_heap_grew(size, blocks, said):
    assert said in " ".join(lessons(Figures(growth=growth(size, blocks))))


def test_the_room_between_the_break_and_the_mappings_is_no_hole():
    far = REGION_START + (8 << 20)
    blocks = [(REGION_START + 16, REGION_START + 900), (far, far + 4000), (far + 4100, far + 8192)]
    found = places(Growth(3, malloc(2, 4092), 1024 + 8192, blocks, blocks[:2], 1024))
    assert (found.holes, found.beside, found.rest) == ((100,), 16, 124)


def test_the_bytes_at_the_peak_are_all_somewhere():
    found = places(growth(100, [(16, 1000), (1016, 3000)]))
    assert (found.payload, found.beside, found.holes) == (3068, 32, (5000,))
    assert found.payload + found.beside + sum(found.holes) + found.rest == 8192


# --- what is refused


@pytest.mark.parametrize("name", ["none.c", "text.txt", "link.c", "folder"])
def test_what_is_no_submission_is_refused(tmp_path, name):
    (tmp_path / "mm.c").write_text("")
    (tmp_path / "text.txt").write_text("")
    (tmp_path / "link.c").symlink_to("mm.c")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError):
        submission.submitted(tmp_path / name)


def test_without_bubblewrap_nothing_is_run(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    (tmp_path / "mm.c").write_text("int mm_init(void) { return 0; }")
    with pytest.raises(sandbox.SandboxError, match="no bwrap: install bubblewrap"):
        grading.grade(tmp_path / "mm.c", grading.Rules(), {})


def test_a_bubblewrap_that_fails_is_explained(monkeypatch, tmp_path):
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho no permissions >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(sandbox.SandboxError, match="cannot make one: no permissions; allow user namespaces"):
        sandbox.require_sandbox()


def test_a_python_file_is_read_before_it_runs(sandbox, tmp_path):
    """Its top-level code never runs: the linter, which only reads, refuses it."""
    path = tmp_path / "mine.py"
    path.write_text("import os\nos._exit(0)\n")
    grade = grading.grade(path, grading.Rules(), {})
    assert grade.score == 0
    assert "mine.py:" in grade.build.failure.what
    assert "D" in grade.build.failure.what


FORBIDDEN_TO_COMPILERS = {
    "read the home": "ls {home}",
    "read accounts": "cat /etc/passwd",
    "see processes": "ls /proc/self",
    "write to the system": "touch /usr/x /submission/x",
    "connect": "exec 3<>/dev/tcp/127.0.0.1/{port}",
}


@pytest.mark.parametrize("name", FORBIDDEN_TO_COMPILERS)
def test_a_compilation_is_in_a_sandbox_too(sandbox, tmp_path, name):
    for folder in ("submission", "out"):
        (tmp_path / folder).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = {"home": tmp_path.home(), "port": server.getsockname()[1]}
        command = ["bash", "-c", FORBIDDEN_TO_COMPILERS[name].format(**places)]
        with pytest.raises(submission.NotBuilt):
            submission.in_sandbox(command, tmp_path, {})
        submission.in_sandbox(["bash", "-c", "touch /out/x && ls /usr"], tmp_path, {})


def test_an_interrupt_ends_every_process(sandbox, tmp_path):
    (tmp_path / "hang.c").write_text(PLAIN.replace("return take(16, size);", "for (;;);", 1))
    flags = ["-w", "-shared", "-fPIC", "-fno-builtin", "-DALIGN=16", "-DDIRT=0"]
    subprocess.run(["cc", *flags, "-o", tmp_path / "hang.so", tmp_path / "hang.c"], check=True)
    grader = grading.Grader(tmp_path, grading.Rules(seconds=100), lambda line: None)
    subject = submission.Subject("hang", submission.MALLOC, tmp_path / "hang.so", 16)

    def interrupt():
        while not grader.players:
            time.sleep(0.01)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grader.together([interrupt, lambda: grader.on_duty(subject, stories.DUTIES[0])])
    assert time.monotonic() - began < 60
    assert all(player.process.poll() is not None for player in grader.players)


@pytest.mark.slow
def test_a_python_file_from_its_source_to_its_score(sandbox, root):
    rules = grading.Rules(seed=1, repeats=1, has_advice=True)
    grade = grading.grade(root / "examples" / "powers_of_two.py", rules, grading.drawn_traces(1))
    assert not grade.failures
    assert any("does not hold" not in line and "hold" in line for line in grade.advice), grade.advice
    assert 25 < grade.score < 95


def test_the_chance_of_each_task_is_its_own():
    grader = object.__new__(grading.Grader)
    grader.rules = grading.Rules(seed=4)
    assert grader.chance("a").random() == random.Random("4 a").random() != grader.chance("b").random()
