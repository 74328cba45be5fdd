"""Whole looks at real programs: the parts sum to what smaps says, and trim gives back what was foretold."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from heapwright.lab.inspect import inspect, judged
from heapwright.live.report import report_of

pytestmark = pytest.mark.long


def report(pid):
    return report_of(inspect(pid))


def assert_sums(found):
    """Each column of the parts sums to its total, and next to nothing is unexplained."""
    for column in ("resident", "swapped", "virtual"):
        assert sum(row[column] for row in found["table"].values()) == found[f"{column}_bytes"]
    assert abs(found["parts"]["unexplained"]) <= 0.01 * found["resident_bytes"]


def assert_foretold(found, gained):
    assert gained > 1 << 20
    assert abs(found["returnable_bytes"] - gained) <= 0.01 * gained


@pytest.mark.parametrize("malloc", ["pymalloc", "malloc"])
def test_python_with_threads_is_retention_and_trim_is_foretold(python, malloc):
    program = python("threads.py", PYTHONMALLOC=malloc)
    first, second = report(program.pid), report(program.pid)
    assert_sums(second)
    assert not second["damage"]
    assert judged([first, second])["verdict"] == "retention"
    assert second["pins"][0]["kind"] == "Python bytes"
    assert len(second["arenas"]) == 5
    assert_foretold(second, int(program.ask("trim")))


def test_cxx_with_strings_and_maps(program, compiled):
    running = program(compiled("strings.cpp"))
    found = report(running.pid)
    assert_sums(found)
    assert not found["damage"]
    kinds = {group["kind"]: group for group in found["pins"]}
    assert kinds["C++ Session"]["blocks"] == 5000
    assert sum(group["blocks"] for group in found["pins"] if group["kind"].startswith("tree nodes")) >= 9900
    assert sum(group["blocks"] for group in found["pins"] if group["kind"] == "text") >= 9000
    assert_foretold(found, int(running.ask("trim")))


def test_a_leak_grows(program, compiled):
    running = program(compiled("leak.c"))
    found = [report(running.pid)]
    for _ in range(3):
        running.ask("more")
        found.append(report(running.pid))
    last = judged(found)
    assert last["verdict"] == "leak"
    assert {(group["kind"], group["size_class"]) for group in last["grown"][:2]} >= {("text", 224)}
    assert last["grown"][0]["blocks"] == 15000


def test_python_objects_pin_arenas(python):
    found = report(python("arenas.py").pid)
    assert_sums(found)
    assert found["python"]["arenas"] >= 20
    assert found["parts"]["python_free"] > 4 * found["parts"]["python_used"] > 0
    pinned = sum(group["pinned_bytes"] for group in found["pins"] if group["kind"] == "Python Order")
    assert pinned > 0.3 * found["parts"]["python_free"]
    assert any("Python arenas" in text and "Order" in text for text in found["advice"])


def test_parts_agree_with_what_malloc_says_of_itself(python):
    """The chunks of every arena fill what the arena took from the kernel."""
    look = inspect(python("threads.py").pid)
    for arena in look.arenas:
        records = 0 if arena.is_main else arena.segments * 48 + 2208
        assert 0 <= arena.system_bytes - arena.walked_bytes <= records


def test_a_look_is_arrays_too(python):
    look = inspect(python("threads.py").pid)
    places = look.chunks[0].run.places
    assert places.dtype.kind == "i"
    assert (places[1:] > places[:-1]).all()
    assert len(look.chunks[0].kinds) == len(places) == look.arenas[0].chunks


CLASSES = """
#include <cstdio>
#include <vector>
struct Animal { virtual ~Animal() {} long legs[6]; };
struct Dog : Animal { ~Dog() override {} long tail[2] = {3, 4}; };
int main() {
    std::vector<Animal *> all;
    for (int i = 0; i < 4000; i++) all.push_back(i % 4 ? new Dog : new Animal);
    puts("ready"); fflush(stdout);
    return getchar() + (int)all.size();
}
"""


@pytest.mark.parametrize("flags", [(), ("-s",), ("-fno-rtti",)])
def test_cxx_classes_are_named_by_their_tables(flags, program, compiled):
    """By run-time type information, which strip leaves; without it by the tables' symbols."""
    found = report(program(compiled("classes.cpp", CLASSES, *flags)).pid)
    kinds = {group["kind"]: group["blocks"] for group in found["pins"]}
    assert (kinds["C++ Dog"], kinds["C++ Animal"]) == (3000, 1000)


FORKED = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char *kept[4000];
int main(void) {
    for (int i = 0; i < 4000; i++) kept[i] = memset(malloc(3000), 1, 3000);
    pid_t child = fork();
    if (child == 0) { memset(kept[0], 2, 3000); pause(); }
    printf("%d\\n", (int)child); fflush(stdout);
    getchar();
    return 0;
}
"""


def proportional(pid):
    """The resident KiB of a process, those that it shares divided by the number of processes that have them."""
    fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return int(fields[fields.index("Pss:") + 1])


def test_memory_that_a_fork_shares_is_told_and_stays_shared(program, compiled):
    """A read with process_vm_readv would give the reader's process a copy of each page, since Linux 5.19."""
    running = program(compiled("forked.c", FORKED))
    child = int(running.first)
    before = [proportional(pid) for pid in (child, running.pid)]
    found = [report(pid) for pid in (child, running.pid)]
    after = [proportional(pid) for pid in (child, running.pid)]
    os.kill(child, signal.SIGKILL)
    assert [abs(late - early) < 100 for early, late in zip(before, after, strict=True)] == [True, True]
    for each in found:
        [note] = [note for note in each["notes"] if "since a fork" in note]
        assert 11.0 < float(note.split()[0]) < 13.0
        assert_sums(each)
