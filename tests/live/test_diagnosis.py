"""What one look says, and how it is shown; reports that were saved."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from heapwright.cli.inspect import command
from heapwright.lab.inspect import inspect
from heapwright.live.diagnosis import diagnose
from heapwright.live.parts import PARTS
from heapwright.live.report import report_of
from heapwright.pictures.memory import DIAGNOSES, answer, groups_table, holes_table, largest, leak_lines

pytestmark = pytest.mark.long

MIB = 1 << 20


def facts(leaked=0, told=(0, 0, 0, 0), **resident):
    """A report with these resident parts, in MiB, and what an allocator reports: live, cached, free, kept."""
    parts = {part: MIB * resident.get(part, 0) for part in PARTS}
    names = ("live_bytes", "cached_bytes", "free_bytes", "kept_bytes")
    figures = {name: value * MIB or None for name, value in zip(names, told, strict=True)} | {"in_parts": False}
    leaks = [{"bytes": leaked * MIB}] if leaked else None
    return {"resident_bytes": sum(parts.values()), "parts": parts, "leaks": leaks, "statistics": [figures]}


@pytest.mark.parametrize(
    ("story", "word"),
    [
        (facts(live=60, free_pages=20, free_rest=20, program=10), "live"),
        (facts(live=20, free_pages=30, free_rest=10, python_free=5), "retention"),
        (facts(live=20, free_pages=5, free_rest=30), "fragmentation"),
        (facts(python_used=5, python_free=50, free_rest=3), "pinned arenas"),
        (facts(live=15, free_pages=7, free_rest=8, python_free=6), "fragmentation"),  # together more than what is live
        (facts(live=5, cached=30), "caches"),
        (facts(foreign_heap=50), "another allocator"),
        (facts(foreign_heap=50, told=(40, 0, 0, 0)), "live"),
        (facts(foreign_heap=50, told=(10, 5, 30, 5)), "fragmentation"),
        (facts(foreign_heap=50, told=(10, 0, 5, 900)), "retention"),
        (facts(foreign_heap=50, told=(30, 0, 0, 900)), "live"),  # most of what is kept cannot be resident
        (facts(foreign_heap=50, told=(10, 30, 0, 0)), "caches"),
        (facts(stacks=50, live=3), "stacks"),
        (facts(files=50), "files"),
        (facts(program=50), "program"),
        (facts(other=50), "mappings"),
        (facts(live=100, leaked=20), "leak"),
        (facts(live=100, leaked=1), "live"),
    ],
)
def test_the_word_for_a_story(story, word):
    assert diagnose(story).word == word
    assert word in DIAGNOSES


def test_nothing_is_said_of_a_core():
    assert diagnose({**facts(live=3), "resident_bytes": None}) is None


EXAMPLES = {"threads.py": "retention", "arenas.py": "pinned arenas", "strings.cpp": "retention", "leak.c": "live"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_known_at_first_sight(example, program, python, compiled):
    running = python(example) if example.endswith(".py") else program(compiled(example))
    found = report_of(inspect(running.pid))
    assert found["diagnosis"] == EXAMPLES[example]
    assert answer(found)[1].startswith("it is mostly ")


def test_a_leak_is_called_one_when_asked(program, compiled, heapwright):
    running = program(compiled("leak.c"))
    running.ask("more")
    said = heapwright("inspect", running.pid, "--leaks").stdout.splitlines()
    assert said[1].startswith("it is a leak: nothing points to ")


def test_no_leak_is_said_to_be_none():
    assert leak_lines({"leaks": []}) == ["leaks: none: something points to each live block"]
    assert leak_lines({"leaks": None}) == []


# --- tables


def group(kind, size, pinned):
    return {"kind": kind, "size_class": 64, "blocks": 1, "bytes": size, "pinned_bytes": pinned, "releases_bytes": 0}


def columns(table):
    return [str(column.header) for column in table.columns]


def test_the_groups_that_pin_are_shown_or_the_largest():
    pinning = {"pins": [group("text", 10, 5000), group("zeros", 9000, 1)], "resident_bytes": 100_000}
    table = groups_table(pinning)
    assert columns(table)[0] == "what pins" and table.row_count == 1
    calm = {**pinning, "resident_bytes": 100 * MIB}
    assert columns(groups_table(calm)) == ["live blocks", "up to bytes", "blocks", "bytes"]
    assert largest(calm["pins"], "bytes")[0]["kind"] == "zeros"
    assert columns(groups_table({**pinning, "resident_bytes": None}))[0] == "live blocks"
    assert groups_table({"pins": [], "resident_bytes": 5}) is None


def test_holes_without_a_page_are_not_shown():
    hole = {"heap": "main arena", "start": 4096, "size": 5000, "resident": 0}
    assert holes_table({"holes": [hole, {**hole, "size": 4000}], "resident_bytes": 1}).row_count == 1
    assert holes_table({"holes": [{**hole, "size": 4000}], "resident_bytes": 1}) is None


# --- saved reports


@pytest.fixture
def reports(program, compiled, heapwright, tmp_path):
    """Two reports of a leak."""
    running = program(compiled("leak.c"))
    for name in ("monday.json", "tuesday.json"):
        (tmp_path / name).write_text(heapwright("inspect", running.pid, "--json").stdout)
        for _ in range(3):
            running.ask("more")
    return tmp_path


def test_two_saved_reports_are_compared_without_the_program(reports, heapwright):
    done = heapwright("inspect", "tuesday.json", "--since", "monday.json", cwd=reports)
    assert done.returncode == 0, done.stderr
    assert "verdict: leak: live blocks grew by" in done.stdout
    found = json.loads(heapwright("inspect", "tuesday.json", "--since", "monday.json", "--json", cwd=reports).stdout)
    assert found["verdict"] == "leak" and len(found["history"]) == 2
    assert found["history"][0]["time"] < found["history"][1]["time"]
    assert heapwright("inspect", "tuesday.json", cwd=reports).stdout.count("verdict") == 0


def test_reports_of_other_programs_are_refused(reports, python, heapwright):
    done = heapwright("inspect", python("arenas.py").pid, "--since", reports / "monday.json")
    assert done.returncode == 2
    assert "the earlier report is of leak-program, not of" in done.stderr


@pytest.mark.parametrize("options", [("--map",), ("--every", "1s"), ("--leaks",), ("--show", "0x10")])
def test_a_report_has_no_memory_to_read(options, reports, heapwright):
    done = heapwright("inspect", "monday.json", *options, cwd=reports)
    assert done.returncode == 2 and "need the program itself" in done.stderr


def test_what_is_no_report(heapwright, tmp_path):
    (tmp_path / "other.json").write_text('{"pid": 1}')
    done = heapwright("inspect", "other.json", cwd=tmp_path)
    assert done.returncode == 2 and "was not written by" in done.stderr


def test_a_watch_that_is_interrupted_says_what_it_saw(program, compiled, monkeypatch):
    running = program(compiled("leak.c"))
    waits = iter(range(3))

    def wait(_):
        if next(waits, None) is None:
            raise KeyboardInterrupt
        running.ask("more")

    monkeypatch.setattr("heapwright.lab.inspect.time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
    done = CliRunner().invoke(command, [str(running.pid), "--every", "1s", "--for", "1h"])
    assert done.exit_code == 0, done.output
    assert "verdict: leak" in done.output
