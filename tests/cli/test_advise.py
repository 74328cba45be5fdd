"""`heapwright advise` from the command line: on a program that fragmentation drives, on a recording, and wrong uses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from heapwright.cli.advise import command
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.format import write

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
        (("-a", "system{MALLOC_ARENA_MAX=1}", "--", "no-such-program"), "today's malloc: "),
        (("-a", "system{MALLOC_ARENA_MAX=1}", "--", "sh", "-c", "exit 3"), "today's malloc: ended with status 3"),
        (("-a", "nomalloc", "--", "true"), "nomalloc"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words, message):
    done = heapwright("advise", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
