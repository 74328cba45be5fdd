"""`heapwright report`: what it prints, on wide and narrow terminals, as JSON, and for traces of any kind."""

from __future__ import annotations

import json

import pytest
from recorded import service

from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.format import write
from heapwright.wording import share, size


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "service.hwt"
    write(path, service())
    return path


@pytest.fixture
def report(heapwright):
    """The lines that `heapwright report` prints."""

    def run(*arguments, **environment):
        done = heapwright("report", *arguments, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return run


def plain(size_of_blocks, count=1, pid=0, command=""):
    numbers = [*range(count)]
    events = Events.of(
        op=[ALLOC] * count + [DEALLOC] * count,
        thread=[0] * 2 * count,
        block=numbers * 2,
        size=[size_of_blocks] * count + [0] * count,
    )
    return Process(events, pid, command=command)


def test_it_begins_with_what_is_remarkable(report, recording):
    first, second, third, *rest = report(recording)
    assert first == "python3 service.py (process 1, PID 4711)"
    assert second.startswith("9,314 events of 3 threads in 2.73 s; at the peak 1,852,486 bytes are live in 812 blocks")
    assert third == "* 57 % of the peak was asked for by Report::append (report.cpp:33): 1.0 MiB in 1 block"
    assert [line for line in rest if line and not line.startswith(("*", " "))][:3] == [
        "live bytes",
        "the peak at 1.69 s: 1.8 MiB in 812 blocks",
        "asked for by                     share      bytes  blocks",
    ]


def test_the_curve_shows_when_the_peak_was(report, recording):
    lines = report(recording)
    start = lines.index("live bytes")
    top, axis, below = lines[start + 1], lines[start + 9], lines[start + 10]
    assert top.startswith("   1.8 MiB ┤") and top.rstrip().endswith("█")
    assert axis.startswith("         0 ┼──")
    assert abs(below.index("▲") - top.index("█")) <= 1
    assert below.split()[:2] == ["0", "s"] and below.endswith("2.73 s")


@pytest.mark.parametrize("columns", ["80", "40"])
def test_it_fits_the_terminal(report, recording, columns):
    lines = report(recording, COLUMNS=columns)
    assert max(map(len, lines)) <= int(columns)
    text = "".join(line.strip() for line in lines).replace("│", "")
    assert "parse_row" in text and "operator new" in text


def test_a_pipe_gets_whole_lines(report, recording):
    assert any(line.endswith("100 % of it for Report::append (report.cpp:33)") for line in report(recording))


def test_trees_join_frames_that_have_one_caller(report, recording):
    lines = report(recording, COLUMNS="160")
    down = lines[lines.index("from main down") + 1 :]
    assert down[0] == (
        "57 % 1.0 MiB  Report::append (report.cpp:33) → std::vector::_M_realloc_insert (vector.tcc:445) → "
        "operator new (libstdc++.so.6)"
    )
    assert down[1] == "43 % 0.8 MiB  main (service.py:90)"
    assert down[2].startswith("├── 37 % 0.7 MiB  load_table (service.py:22) → parse_row (service.py:12)")
    assert "from malloc up" in lines


def test_an_interpreters_frames_can_be_seen(report, recording):
    assert "_PyObject_Malloc" not in "".join(report(recording))
    assert "_PyObject_Malloc (obmalloc.c:1560)" in "\n".join(report(recording, "--all-frames", COLUMNS="160"))


def test_another_moment(report, recording):
    lines = report(recording, "--at", "200ms")
    assert any(line.startswith("live at 200 ms: 0.3 MiB in 223 blocks") for line in lines)
    at_end = report(recording, "--at", "end")
    assert any(line.startswith("live at 2.73 s: 0.5 MiB in 701 blocks") for line in at_end)
    assert not any(line.startswith("never freed") for line in at_end), "these are the same blocks"


def test_json_has_all_findings(heapwright, recording):
    found = json.loads(heapwright("report", recording, "--json", "--top", "2").stdout)
    assert found["remarks"][0]["rule"] == "peak"
    assert [row["function"] for row in found["peak"]["callers"]] == ["Report::append(std::string const&)", "parse_row"]
    assert found["process"]["peak_live_bytes"] == found["peak"]["bytes"] == max(found["curve"]["high"])
    assert found["end"]["blocks"] == found["process"]["live_blocks_at_end"]


def test_without_times_and_call_sites_it_counts_events_and_names_sizes(report, tmp_path):
    write(tmp_path / "plain.hwt", Trace([plain(100, 50)]))
    text = "\n".join(report(tmp_path / "plain.hwt"))
    assert "the trace has no call sites" in text
    assert "100 % of the peak is in blocks of 65 to 128 bytes" in text
    assert "99 events" in text
    assert "the peak at event 50" in text
    assert "from main down" not in text


def test_other_formats_are_read(report, tmp_path):
    (tmp_path / "a.txt").write_text("1: malloc 0x10 100\n1: realloc 0x20 0x10 200\n1: free 0x20\n")
    assert "3 events of 1 thread; at the peak 200 bytes are live in 1 block" in report(tmp_path / "a.txt")


def test_a_trace_without_events_is_a_line(report, tmp_path):
    write(tmp_path / "none.hwt", Trace([Process(Events.of(op=[], thread=[], block=[], size=[]), command="true")]))
    assert report(tmp_path / "none.hwt")[:2] == [
        "true",
        "0 events of 0 threads; at the peak 0 bytes are live in 0 blocks",
    ]


# --- processes


@pytest.fixture
def three(tmp_path):
    path = tmp_path / "three.hwt"
    write(path, Trace([plain(10, 1, 70, "sh"), plain(1 << 20, 2, 71, "server"), plain(500, 1, 72, "child")]))
    return path


def test_the_largest_process_is_reported_and_all_are_listed(report, three):
    lines = report(three)
    assert lines[0] == "server (process 2, PID 71)"
    rows = lines[lines.index("3 processes") + 1 :]
    assert [row.split()[0] for row in rows] == ["command", "server", "child", "sh"]
    assert report(three, "--process", "70")[0] == "sh (process 1, PID 70)"


def test_all_processes_can_be_reported(heapwright, three):
    found = json.loads(heapwright("report", three, "--process", "all", "--json").stdout)
    assert [each["process"]["command"] for each in found] == ["sh", "server", "child"]


# --- two recordings, and the page


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The service before its cache and its table grew."""
    path = tmp_path_factory.mktemp("report") / "earlier.hwt"
    write(path, service(requests=1000, rows=500))
    return path


def test_what_grew_is_said_first(report, recording, earlier):
    lines = report(recording, "--against", earlier)
    assert lines[2].startswith("* the peak grew from 1.6 MiB in earlier.hwt to 1.8 MiB, by ")
    assert lines[2].endswith("; parse_row (service.py) has +0.1 MiB")
    start = lines.index("what changed: never freed")
    assert [line.split()[:1] for line in lines[start + 2 : start + 4]] == [["remember"], ["parse_row"]]


def test_json_has_what_grew(heapwright, recording, earlier):
    found = json.loads(heapwright("report", recording, "--against", earlier, "--json").stdout)["against"]
    changes = {row["name"]: row for row in found["left"]}
    assert changes["remember (service.py)"] == {
        "name": "remember (service.py)",
        "difference": 300 * 512,
        "now": 400 * 512,
        "before": 100 * 512,
    }
    assert sum(row["difference"] for row in found["peak"]) == sum(row["now"] - row["before"] for row in found["peak"])


def test_against_itself_nothing_grew(report, recording):
    lines = report(recording, "--against", recording)
    assert lines[2] == "* the peak is the same as in service.hwt, 1.8 MiB"
    assert not any(line.startswith("what changed") for line in lines)


def test_a_page_is_written_whole(heapwright, recording, earlier, tmp_path):
    done = heapwright("report", recording, "--against", earlier, "--html", tmp_path / "a.html")
    assert (done.returncode, done.stdout) == (0, "")
    page = (tmp_path / "a.html").read_text()
    assert done.stderr == f"{tmp_path}/a.html: {len(page.encode()):,} bytes\n"
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n")


# --- what it refuses


def test_a_page_that_cannot_be_written_is_said_first(refused, recording, tmp_path):
    assert "there is no folder" in refused("report", recording, "--html", tmp_path / "no" / "a.html")


def test_only_recordings_of_a_kind_are_compared(refused, recording, three):
    assert refused("report", recording, "--against", three).endswith(
        "three.hwt has no call sites, the other one has: compare two of a kind"
    )
    assert "--against compares one process" in refused("report", three, "--against", three, "--process", "all")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--at", "noon"), "--at 'noon' is no moment: write peak, end, 1.5s, 200ms or 3m"),
        (
            ("--process", "9"),
            "no process is 9: give a PID, a place, or all; there are 1 (PID 4711: python3 service.py)",
        ),
        (("--at", "99m"), "--at '99m' is after the end at 2.73 s"),
        (("--top", "0"), "Invalid value for '--top': 0 is not in the range 1<=x<=1000"),
    ],
)
def test_wrong_arguments_are_one_line(refused, recording, arguments, line):
    assert line in refused("report", recording, *arguments)


def test_a_time_in_a_trace_without_times_is_refused(refused, three):
    assert "the trace has no times: give the number of an event" in refused("report", three, "--at", "2s")
    assert "is after the end at event" in refused("report", three, "--at", "9999")


def test_a_trace_without_processes_is_refused(refused, tmp_path):
    write(tmp_path / "none.hwt", Trace([]))
    assert refused("report", tmp_path / "none.hwt") == f"heapwright: {tmp_path}/none.hwt: has no processes"


def test_a_file_that_is_no_trace_is_refused(refused, tmp_path):
    (tmp_path / "x.hwt").write_bytes(b"HWTRACE\0" + bytes(4))
    assert "x.hwt: is truncated" in refused("report", tmp_path / "x.hwt")
    assert "cannot be read" in refused("report", tmp_path / "none.hwt")


# --- words


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 3, "33 %"), (1, 200, "0.5 %"), (1, 9999, "<0.1 %"), (0, 5, "0 %"), (1, 0, "-")]
)
def test_shares_have_the_digits_that_matter(part, whole, text):
    assert share(part, whole) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0"), (5, "5 B"), (2048, "2.0 KiB"), (3 << 20, "3.0 MiB")]
)
def test_sizes_have_a_unit_that_fits(count, text):
    assert size(count) == text
