"""`heapwright advise` from the command line: on a program that fragmentation drives, on a recording, and wrong uses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from heapwright.cli.advise import command
from heapwright.lab.machine_facts import installed_peers
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.format import write

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "memory"
BURSTS = f"""
import sys; sys.path.insert(0, {str(EXAMPLES)!r})
import bursts; bursts.OBJECTS, bursts.IDLE = 4000, 0.6; bursts.main()
"""
ARENAS = "system{MALLOC_ARENA_MAX=1}"


def heapwright(*arguments):
    return subprocess.run([sys.executable, "-m", "heapwright", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def recording(tmp_path):
    """A hundred large blocks that are live one after the other."""
    events = Events.of(
        op=[ALLOC, DEALLOC] * 100,
        thread=[0] * 200,
        block=[i // 2 for i in range(200)],
        size=[100_000 + 100 * i * ((i + 1) % 2) for i in range(200)],
    )
    path = tmp_path / "large.hwt"
    write(path, Trace([Process(events, 7, command="server")]))
    return path


def test_arenas_that_bursts_pin_are_found_proved_and_halved(tmp_path):
    page = tmp_path / "answer.html"
    words = (
        "--goal",
        "memory",
        "--allow",
        "300",
        "--rounds",
        "1",
        "-n",
        "2",
        "-a",
        ARENAS,
        "--html",
        str(page),
        "--json",
    )
    done = heapwright("advise", *words, "--", sys.executable, "-c", BURSTS)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["recommended"] == ARENAS
    change = report["judged"][0]["changes"]["retained"]
    assert change["after"] < change["before"] / 2
    assert change["holds"]
    assert report["deployment"]["Dockerfile"] == ['ENV MALLOC_ARENA_MAX="1"']
    assert max(resident for _, resident in report["courses"]["recommended"]) < change["before"]
    assert "<polyline" in page.read_text()


QUICK = ("--goal", "memory", "--rounds", "1", "-n", "2", "-a", ARENAS, "-a", "jemalloc", "-a", "tcmalloc", "--json")


def advised(*command):
    for peer in ("jemalloc", "tcmalloc"):
        if peer not in installed_peers():
            pytest.skip(f"{peer} is not installed")
    done = heapwright("advise", *QUICK, "--", *map(str, command))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_nothing_helps_a_program_that_allocates_once(tmp_path):
    if not shutil.which("gzip"):
        pytest.skip("gzip is not installed")
    (tmp_path / "text").write_text("".join(f"line {i * 7919 % 1000003}\n" for i in range(300_000)))
    report = advised("gzip", "-kf", tmp_path / "text")
    assert (report["verdict"], report["recommended"]) == ("nothing", None)
    assert report["sentence"].startswith("nothing helps: none of 3 candidates improves on today's malloc")
    assert report["deployment"] == {}
    assert len(report["search"]) == 4 and not any(row["error"] for row in report["search"])


@pytest.mark.long
def test_a_leak_is_the_programs_and_has_a_name(tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    subprocess.run(["gcc", "-g", "-O1", "-o", tmp_path / "leak", EXAMPLES / "answers.c"], check=True)
    report = advised(tmp_path / "leak")
    assert (report["verdict"], report["recommended"]) == ("program", None)
    assert report["live_share"] > 0.9
    first = report["holders"]["callers"][0]
    assert first["name"].startswith("handle (answers.c:") and first["share"] > 0.99
    assert report["holders"]["live_bytes"] == pytest.approx(60_000 * 700, rel=0.01)


def test_a_recording_is_replayed_and_judged_on_another_one(recording):
    words = (str(recording), "--judge", str(recording), "-a", "system{MALLOC_MMAP_THRESHOLD_=65536}", "-n", "2")
    done = heapwright("advise", *words, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{recording}\n")
    assert "p99" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give recordings, or a program after `--`"),
        (("a.hwt", "--", "ls"), "give recordings, or a program after `--`"),
        (("--judge", __file__, "--", "ls"), "--judge has no effect on a program"),
        (("--load", "true", "a.hwt"), "--load has no effect on a recording"),
        (("--seed", "3", "--", "ls"), "--seed has no effect without --tune"),
    ],
)
def test_a_wrong_use_is_refused(words, message):
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.hwt",), "missing.hwt: "),
        (
            ("-a", "system{MALLOC_ARENA_MAX=1}", "--", "no-such-program"),
            "cannot run no-such-program: there is no such program",
        ),
        (("-a", "system{MALLOC_ARENA_MAX=1}", "--", "sh", "-c", "exit 3"), "today's malloc: ended with status 3"),
        (("-a", "nomalloc", "--", "true"), "nomalloc"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words, message):
    done = heapwright("advise", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
