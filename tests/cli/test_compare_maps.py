"""`heapwright compare --map` and `--html`."""

import re

import pytest

from heapwright.traces.events import ALLOC, Events, Process, Trace
from heapwright.traces.format import write

pytestmark = pytest.mark.long


@pytest.fixture
def recording(tmp_path):
    events = Events.of(op=[ALLOC] * 400, thread=[0] * 400, block=range(400), size=[3000] * 400)
    write(tmp_path / "grow.hwt", Trace([Process(events, 7, command="grow"), Process(events[:1], 8)]))
    return tmp_path / "grow.hwt"


def compare(heapwright, *arguments, **environment):
    return heapwright("compare", *arguments, "-a", "system", "-n", 1, **environment)


def test_a_map_fits_the_terminal_and_has_no_colour_in_a_pipe(heapwright, recording):
    done = compare(heapwright, recording, "--map", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    drawn = [line for line in lines if "│" in line]
    assert len(drawn) == 16 and max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    top, bottom = (line.split("│")[1] for line in (drawn[0], drawn[-1]))
    assert top.startswith("  ") and top.endswith("█")
    assert bottom.endswith("█") and set(bottom) <= set("░▒▓█")
    assert any(re.match(r"system: 1\.[12] MiB resident at most", line) for line in lines)
    assert lines[-1].startswith("█▓▒░ in use") or "not used yet" in lines[-1]


def test_a_page_is_written_beside_the_tables(heapwright, recording, tmp_path):
    done = compare(heapwright, recording, "--html", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert done.stderr == f"{tmp_path}/a.html: {len(page.encode()):,} bytes\n"
    assert "<h1>grow</h1>" in page and page.endswith("</html>\n")
    assert "allocator" in done.stdout and "│" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--map", "--process", "all"], "a map is of one process: choose it with --process"),
        (["--map", "--json"], "--map has no effect with --json"),
        (["--html", "/no/such/folder/a.html"], "there is no folder /no/such/folder"),
    ],
)
def test_what_cannot_be_is_said_first(heapwright, recording, arguments, said):
    done = compare(heapwright, recording, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr
