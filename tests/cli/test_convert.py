"""`heapwright convert` and `heapwright synthesize`: traces from and for other tools, and made-up ones."""

from __future__ import annotations

import pytest

from heapwright.traces import format
from heapwright.traces.events import Events, Process, Trace, check
from heapwright.traces.importers import open_trace
from heapwright.traces.synthesize import demo

ANDROID = b"1: malloc 0x10 100\n2: calloc 0x20 4 8\n1: memalign 0x40 64 9\n1: realloc 0x30 0x10 200\n1: free 0x20\n"
MTRACE = b"= Start\n@ x + 0x10 0x64\n@ x + 0x20 0x20\n@ x - 0x10\n= End\n"
TABLE = "size, alloc_rate, num_live\n64, 1.5, 20\n4096, 0.1, 3.25\n"


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_bytes(ANDROID)
    return path


def figures(path):
    """What every format keeps."""
    summary = open_trace(path).summary()
    return summary.reallocs, summary.deallocs, summary.blocks, summary.peak_live_bytes, summary.live_bytes_at_end


@pytest.mark.parametrize("name", ["out.hwt", "out.rep", "out.txt", "out.zip"])
def test_a_trace_in_every_format(heapwright, story, tmp_path, name):
    done = heapwright("convert", story, tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"{tmp_path / name}: 5 events, peak live memory 241 bytes in 3 blocks; ")
    assert figures(tmp_path / name) == figures(story) == (1, 1, 3, 241, 209)
    assert done.stdout == ""


def test_what_a_format_leaves_out_is_counted(heapwright, story, tmp_path):
    done = heapwright("convert", story, tmp_path / "out.rep")
    assert done.stderr.splitlines()[1:] == [
        "  1 further thread, merged into the first",
        "  1 alignment, left out",
        "  1 zeroed allocation, written without zeroing",
    ]


@pytest.mark.parametrize("name", ["out.pb.gz", "out.speedscope.json", "out.folded", "out.pftrace", "out.csv"])
def test_a_profile_or_a_table(heapwright, story, tmp_path, name):
    done = heapwright("convert", story, tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"{tmp_path / name}: 5 events, peak live memory 241 bytes in 3 blocks; ")
    assert len(done.stderr.splitlines()) > 1


def test_folded_stacks_of_another_measure(heapwright, refused, story, tmp_path):
    assert heapwright("convert", story, tmp_path / "out.folded", "--measure", "requests").returncode == 0
    assert (tmp_path / "out.folded").read_text() == "[unknown call stack] 4\n"
    assert "--measure applies only to folded stacks" in refused(
        "convert", story, tmp_path / "out.csv", "--measure", "requests"
    )


def test_the_option_comes_before_the_name(heapwright, tmp_path):
    (tmp_path / "log").write_bytes(MTRACE)
    assert heapwright("convert", tmp_path / "log", tmp_path / "out.txt", "--to", "rep").returncode == 0
    assert (tmp_path / "out.txt").read_text() == "1\n2\n3\n132\na 0 100\na 1 32\nf 0\n"


def test_balanced_frees_everything(heapwright, story, tmp_path):
    assert heapwright("convert", story, tmp_path / "out.rep", "--balanced").returncode == 0
    assert open_trace(tmp_path / "out.rep").summary().live_blocks_at_end == 0


def test_the_largest_process_is_what_a_text_holds(heapwright, tmp_path):
    large, small = demo()[:10], Events.of(op=[1], thread=[0], block=[0], size=[5])
    format.write(tmp_path / "two.hwt", Trace([Process(small), Process(large)]))
    done = heapwright("convert", tmp_path / "two.hwt", tmp_path / "out.txt")
    assert done.stderr.splitlines()[1:] == ["  1 smaller process, left out"]
    assert len(open_trace(tmp_path / "out.txt").events) == 10


def test_wrong_use(refused, story, tmp_path):
    out = tmp_path / "out.rep"
    assert "cannot be read" in refused("convert", tmp_path / "none.hwt", out)
    assert "unknown kind of file" in refused("convert", __file__, out)
    assert "end it with .hwt (hwt), .rep (rep)" in refused("convert", story, tmp_path / "out.foo")
    assert "there is no folder" in refused("convert", story, tmp_path / "no" / "out.rep")
    assert not out.exists()


def test_a_truncated_trace_leaves_what_was_there(heapwright, refused, story, tmp_path):
    out = tmp_path / "out.rep"
    heapwright("convert", story, tmp_path / "whole.hwt")
    heapwright("convert", story, out)
    before = out.read_bytes()
    (tmp_path / "cut.hwt").write_bytes((tmp_path / "whole.hwt").read_bytes()[:-20])
    assert "is truncated" in refused("convert", tmp_path / "cut.hwt", out)
    assert out.read_bytes() == before


def test_a_trace_without_events_is_refused(refused, tmp_path):
    format.write(tmp_path / "none.hwt", Trace([Process(demo()[:0])]))
    assert "has no events" in refused("convert", tmp_path / "none.hwt", tmp_path / "out.rep")


# --- made up


def test_a_workload_and_a_table_are_made_up(heapwright, tmp_path):
    (tmp_path / "service.csv").write_text(TABLE)
    assert heapwright("synthesize", "demo", "-o", tmp_path / "demo.hwt").returncode == 0
    assert open_trace(tmp_path / "demo.hwt").events == demo()
    done = heapwright("synthesize", tmp_path / "service.csv", "--live", 1, "-o", tmp_path / "service.hwt")
    assert done.returncode == 0, done.stderr
    events = open_trace(tmp_path / "service.hwt").events
    check(events)
    assert set(events.size[events.asks].tolist()) == {64, 4096}
    assert 0.8 * (1 << 20) < open_trace(tmp_path / "service.hwt").summary().live_bytes_at_end < 1.25 * (1 << 20)


def test_what_cannot_be_made_up(refused, tmp_path):
    (tmp_path / "bad.csv").write_text("8, x\n")
    assert "no workload is named 'x'; there are demo, pairs" in refused("synthesize", "x", "-o", tmp_path / "a.hwt")
    assert "bad.csv:1: has 2 columns, not 3" in refused("synthesize", tmp_path / "bad.csv", "-o", tmp_path / "a.hwt")
    assert "cannot be read" in refused("synthesize", tmp_path / "no.csv", "-o", tmp_path / "a.hwt")
