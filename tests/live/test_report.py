"""The command's options, verdicts, advice, classes of sizes, and the map."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import heapwright as package
from heapwright.allocators.parts.size_classes import class_of
from heapwright.lab.inspect import reports
from heapwright.live.advice import advice_for
from heapwright.live.errors import InspectError
from heapwright.live.findings import Options
from heapwright.live.mappings import parse_maps, parse_smaps
from heapwright.live.parts import PARTS
from heapwright.live.pins import classes_of
from heapwright.live.process import Process
from heapwright.live.regions import FREE, FULL, PARTLY, Region
from heapwright.live.verdict import judge
from heapwright.pictures.memory import memory_map
from heapwright.wording import size

pytestmark = pytest.mark.long

MIB = 1 << 20


def report(**resident):
    """A report with these resident parts, in MiB."""
    parts = {part: MIB * resident.get(part, 0) for part in PARTS}
    table = {part: {"resident": value, "swapped": 0, "virtual": value} for part, value in parts.items()}
    return {
        "resident_bytes": sum(parts.values()),
        "parts": parts,
        "table": table,
        "pins": [],
        "arenas": [],
        "sizes": [],
        "settings": {},
        "python": None,
        "returnable_bytes": parts["free_pages"],
        "returnable_swapped_bytes": 0,
        "returned_by": "malloc_trim(0)",
        "allocator": "glibc",
        "statistics": [],
    }


STORIES = {
    "leak": [report(live=each, free_rest=5) for each in (100, 120, 140, 160)],
    "retention": [report(live=100, free_rest=each) for each in (10, 60, 90)],
    "cache": [report(live=each, free_rest=5) for each in (100, 180, 200, 200, 200, 200)],
    "steady": [report(live=100, free_rest=10)] * 4,
}


@pytest.mark.parametrize("word", STORIES)
def test_the_verdict_on_a_story(word):
    assert judge(STORIES[word]).word == word
    assert judge(STORIES[word][:1]) is None


def test_memory_that_stays_high_and_free_is_retention():
    assert judge([report(live=30, free_pages=60), report(live=30, free_pages=60)]).word == "retention"


def test_what_an_allocator_counts_itself_is_judged_too():
    def counted(live, **parts):
        figures = {"live_bytes": live * MIB, "cached_bytes": None, "free_bytes": 0, "kept_bytes": 0, "in_parts": False}
        return {**report(**parts), "statistics": [figures]}

    assert judge([counted(each, foreign_heap=200) for each in (100, 120, 140)]).word == "leak"
    assert judge([counted(100, foreign_heap=200)] * 3).word == "steady"
    unread = judge([report(foreign_heap=each) for each in (100, 150, 200)])
    assert unread.word is None and "not read grew by 100.0 MiB" in unread.reason


def test_a_leak_that_is_swapped_out_is_one_still():
    first, last = report(live=100), report(live=100)
    last["table"]["live"]["swapped"] = 50 * MIB
    assert judge([first, last]).word == "leak"


def test_advice_rests_on_figures():
    facts = report(live=50, free_pages=40, free_kept=30, free_rest=20, cached=10)
    facts["arenas"] = [{"is_main": False, "resident_free_bytes": 20 * MIB}] * 3
    said = advice_for(facts)
    assert said[0].startswith("MALLOC_ARENA_MAX=2: 3 arenas of threads hold 60.0 MiB free")
    assert any("malloc_trim(0)" in each and "40.0 MiB" in each for each in said)
    assert any("tcache_count" in each and "10.0 MiB" in each for each in said)
    assert advice_for(report(live=100)) == []
    assert advice_for(report(live=100, free_pages=1)) == []


def test_classes_of_sizes_are_those_of_the_allocators():
    sizes = [*range(1, 3000), 4096, 5000, 1 << 20, (1 << 20) + 1, 1 << 33]
    assert classes_of(np.array(sizes)).tolist() == [class_of(each) for each in sizes]


def test_mappings_of_maps_and_smaps():
    text = (
        "555500000000-555500002000 r-xp 00001000 08:01 42   /usr/bin/a b\\012c (deleted)\n"
        "Rss:                   8 kB\nSwap:                  4 kB\nVmFlags: rd ex lo\n"
        "7f0000000000-7f0000001000 rw-p 00000000 00:00 0\nRss: 0 kB\n"
    )
    first, second = parse_smaps(text.splitlines())
    assert (first.path, first.inode, first.offset) == ("/usr/bin/a b\nc (deleted)", 42, 4096)
    assert (first.resident, first.swapped, first.is_locked) == (8192, 4096, True)
    assert second.is_private_data and not first.is_private_data
    assert [mapping.start for mapping in parse_maps(text.splitlines())] == [first.start, second.start]


def test_the_map_shows_each_state():
    states = np.array([FULL] * 10 + [PARTLY] * 10 + [FREE] * 10, np.uint8)
    legend, name, *rows = [line.plain for line in memory_map([Region("heap", 0x1000, states)], 36)]
    assert "in use" in legend and name == "heap"
    assert "█" * 10 in "".join(rows) and "▓" in "".join(rows) and "░" in "".join(rows)


def test_sizes_are_said_with_their_unit():
    assert [size(each) for each in (None, 0, 512, 200 * 1024, 5 * MIB)] == ["-", "0", "512 B", "0.2 MiB", "5.0 MiB"]


# --- the command


def test_json_has_the_promised_fields(python, heapwright):
    found = json.loads(heapwright("inspect", python("arenas.py").pid, "--json").stdout)
    fields = ("pid", "allocator", "resident_bytes", "parts", "returnable_bytes", "pins", "verdict", "advice")
    assert all(field in found for field in fields)
    assert {"live", "cached", "free_pages", "free_rest", "overhead"} <= set(found["parts"])
    assert {"kind", "size_class", "blocks", "bytes", "pinned_bytes"} <= set(found["pins"][0])
    assert found["allocator"] == "glibc" and found["verdict"] is None


def test_looks_at_intervals_end_in_a_verdict(program, compiled, heapwright, tmp_path):
    running = program(compiled("leak.c"))
    first = heapwright("inspect", running.pid, "--json").stdout
    (tmp_path / "first.json").write_text(first)
    for _ in range(3):
        running.ask("more")
    later = heapwright("inspect", running.pid, "--since", tmp_path / "first.json")
    assert "verdict: leak: live blocks grew by" in later.stdout
    steady = json.loads(heapwright("inspect", running.pid, "--every", "0.2", "--for", "0.5s", "--json").stdout)
    assert steady["verdict"] == "steady"


def test_a_process_that_ends_while_it_is_watched_leaves_its_last_report(program, compiled):
    running = program(compiled("leak.c"))
    looks = reports(Process(running.pid), Options(), every=0.01, seconds=60.0)
    _, first = next(looks)
    assert first["parts"]["live"] > 0
    running.process.kill()
    running.process.wait()
    assert len(list(looks)) <= 1
    with pytest.raises(InspectError, match="there is no process"):
        Process(running.pid)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--for", "1h"), "--for needs --every"),
        (("--every", "soon"), "'soon' is not a time"),
        (("--since", "README.md"), "was not written by"),
        (("--show", "here"), "'here' is not an address"),
    ],
)
def test_wrong_options(options, why, python, heapwright, root):
    done = heapwright("inspect", python("arenas.py").pid, *options, cwd=root)
    assert done.returncode == 2
    assert why in done.stderr


def test_from_python_too(python):
    look = package.inspect(python("arenas.py").pid, pause=False)
    assert look.python.arenas > 10
    assert look.account.total().resident > 0


def test_a_process_may_inspect_itself():
    """It cannot be paused, and its heap changes under the look; its live blocks are seen all the same."""
    code = (
        "import heapwright, os; kept = [bytes(5000) for _ in range(1000)]; look = heapwright.inspect(os.getpid())\n"
        "print(look.account.parts['live'].resident, look.pauses.count, *look.notes, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    live, pauses, *notes = done.stdout.splitlines()
    assert int(live) > 5_000_000 and pauses == "0"
    assert "it is the process that inspects, so it was not paused" in notes
