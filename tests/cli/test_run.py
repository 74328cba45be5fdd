"""`heapwright run` with any malloc, and what it counts."""

from __future__ import annotations

import json
import sys

import pytest

from heapwright.lab.machine_facts import installed_peers

pytestmark = pytest.mark.long

COUNTED = "kept = [bytes(100_000) for _ in range(50)]"  # beyond what Python keeps to itself


def test_an_environment_reaches_the_program_and_wins(heapwright):
    shown = ("--", "sh", "-c", "echo $A $B")
    assert heapwright("run", "-a", "system{A=1}", *shown, A="0", B="2").stdout == "1 2\n"
    assert heapwright("run", "-a", "kr{A=1,B=}", *shown, A="0", B="2").stdout == "1\n"


def test_a_library_serves_under_its_label(heapwright):
    peers = installed_peers()
    if not peers:
        pytest.skip("no other malloc is installed")
    name, path = next(iter(peers.items()))
    shown = ("--", "sh", "-c", "echo $LD_PRELOAD")
    for text in (name, str(path), f"x={path}"):
        assert heapwright("run", "-a", text, *shown).stdout == f"{path.resolve()}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-a", "x=/etc/passwd"), "x: a process gets malloc from "),
        (("-a", "x=/lib/x86_64-linux-gnu/libm.so.6"), "x: a process gets malloc from "),
        (("-a", "kr{A}"), "'A' in 'kr{A}' is not VARIABLE=VALUE"),
        (("-a", "/nowhere/x.so"), "there is no library /nowhere/x.so"),
    ],
)
def test_what_is_no_malloc_is_refused_before_the_program_runs(heapwright, tmp_path, arguments, said):
    done = heapwright("run", *arguments, "--", "touch", tmp_path / "ran")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


def test_json_without_stats_is_refused(heapwright):
    done = heapwright("run", "--json", "--", "true")
    assert done.returncode == 2
    assert "--json needs --stats" in done.stderr


def test_stats_of_a_library_are_refused(heapwright):
    peers = installed_peers()
    if not peers:
        pytest.skip("no other malloc is installed")
    done = heapwright("run", "-a", next(iter(peers)), "--stats", "--", "true")
    assert done.returncode == 2
    assert "--stats counts" in done.stderr


@pytest.fixture
def counted(heapwright):
    """Run a Python program; the numbers that its process left."""

    def run(malloc, source):
        done = heapwright("run", "-a", malloc, "--stats", "--json", "--", sys.executable, "-S", "-c", source)
        [numbers] = json.loads(done.stdout)["processes"]
        return numbers

    return run


def test_the_c_library_is_counted_as_a_baseline(counted):
    """The same program asks both for the same, and both hold what it keeps."""
    system, ours = counted("system", COUNTED), counted("kr", COUNTED)
    assert set(system) == set(ours)
    for numbers in (system, ours):
        assert numbers["allocs"] - numbers["deallocs"] == numbers["live_blocks"]
        assert sum(each["live_blocks"] for each in numbers["classes"]) == numbers["live_blocks"]
        assert sum(each["live_bytes"] for each in numbers["classes"]) == numbers["live_bytes"]
        assert 50 * 100_000 <= numbers["peak_bytes"] <= numbers["peak_resident_bytes"]
        assert numbers["live_bytes"] <= numbers["heap_bytes"]
    assert abs(system["allocs"] - ours["allocs"]) < 0.02 * ours["allocs"]
    large = [each["requests"] for numbers in (system, ours) for each in numbers["classes"] if each["size"] == 1 << 17]
    assert min(large) >= 50 and max(large) - min(large) < 5
    assert [name for name, value in system.items() if value is None] == [
        "peak_heap_bytes",
        "largest_free",
        "growths",
        "shrinks",
        "decommits",
    ]
    assert None not in ours.values()


def test_a_line_leaves_out_what_is_not_reported(heapwright):
    line = heapwright("run", "-a", "system{MALLOC_ARENA_MAX=1}", "--stats", "--", "true").stderr.splitlines()[0]
    assert line.startswith("[heapwright system{MALLOC_ARENA_MAX=1}, process ")
    assert ", heap bytes " in line and ", peak resident bytes " in line
    assert "growths" not in line and "None" not in line


@pytest.mark.parametrize("width", [80, 40])
def test_the_classes_fit_the_terminal(heapwright, width):
    done = heapwright("run", "-a", "kr", "--stats", "--", "ls", "/", COLUMNS=str(width))
    _, *table = done.stderr.splitlines()
    assert all(len(line) <= width for line in table)
    heads = " ".join(table).split()
    assert [heads.count(word) for word in ("requests", "bytes")] == [1, 1]
