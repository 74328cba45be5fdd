"""Files that other tools made: their blocks, sizes, threads, times and call stacks, and what damage does."""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rows import rows

from heapwright.traces import calls, columns
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, NONE, REALLOC, TraceError, check
from heapwright.traces.importers import bpftrace, heaptrack, jeprof, log, ltrace, memray, open_trace

FILES = Path(__file__).parent / "files"
ROW, GROWN = 100, 5000


def opened(name):
    trace = open_trace(FILES / name)
    for process in trace.processes:
        check(process.events)
    return trace


def frames(trace, size):
    """The functions of the stack that asked for the first block of a size, innermost first."""
    site = int(trace.events.site[trace.events.size == size][0])
    return [frame.function for frame in trace.stacks.of(site)]


def story_of_the_program(trace, reallocs):
    """Check what program.c does, as far as every tool sees it."""
    sizes = trace.events.size[trace.events.asks].tolist()
    assert [sizes.count(size) for size in (ROW, GROWN, 300, 56, 128)] == [5, 1, 1, 1, 1]
    assert (trace.events.op == REALLOC).sum() == reallocs
    grown = int(trace.events.block[trace.events.size == GROWN][0])
    assert not ((trace.events.block == grown) & (trace.events.op == DEALLOC)).any()


# --- heaptrack


def test_heaptrack_raw():
    trace = opened("heaptrack.raw.zst")
    story_of_the_program(trace, reallocs=0)
    assert trace.source == "heaptrack, raw"
    assert trace.command == ["./program"]
    assert not trace.notes()
    functions = frames(trace, ROW)
    assert re.fullmatch(r"program\+0x[0-9a-f]+", functions[0])
    assert functions[2].startswith("libc.so.6+0x")
    assert trace.stacks.frames[-1].module.startswith("/")
    assert 20_000 < int(trace.events.time[-1]) < 10_000_000  # program.c sleeps 30 ms, and heaptrack ticks every 10


def test_heaptrack_interpreted():
    trace = opened("heaptrack.gz")
    story_of_the_program(trace, reallocs=0)
    assert trace.source == "heaptrack, interpreted"
    assert frames(trace, ROW)[:2] == ["parse_row", "main"]
    assert trace.stacks.of(int(trace.events.site[trace.events.size == ROW][0]))[1].place == "/tmp/example/program.c:16"
    assert trace.notes() == {heaptrack.AMBIGUOUS: 3}
    inlined = [frame.function for frame in trace.stacks.frames if frame.is_inlined]
    assert "allocate_stack" in inlined


def test_like_blocks_of_an_interpreted_file_are_freed_latest_first(open_text):
    trace = open_text(b"v 10400 3\ns 1 p\ni 5 1\nt 1 0\na 10 1\na 8 0\n+ 0\n+ 0\n+ 1\n- 0\n- 1\n- 0\n- 0\n")
    assert rows(trace.events) == [
        (ALLOC, 0, 16), (ALLOC, 1, 16), (ALLOC, 2, 8), (DEALLOC, 1, 0), (DEALLOC, 2, 0), (DEALLOC, 0, 0),
    ]  # fmt: skip
    assert trace.notes() == {heaptrack.AMBIGUOUS: 1, heaptrack.NEVER_ALLOCATED: 1}


def test_the_text_of_older_heaptracks(open_text):
    raw = b"v 10000 1\nX /bin/my prog -x\nm /lib/libx.so 1000 0 500\nt 1100 0\nc 14\n+ 10 1 aa0\n- aa0\n"
    trace = open_text(raw)
    assert rows(trace.events) == [(ALLOC, 0, 16), (DEALLOC, 0, 0)]
    assert frames(trace, 16) == ["libx.so+0x100"]
    assert trace.events.time.tolist() == [20_000, 20_000]
    interpreted = open_text(b"v 10000 1\ns a name\ns f.c\ni 5 1 1 2 c\nt 1 0\na 10 1\n+ 0\n")
    assert interpreted.stacks.frames[0][:3] == ("a name", "f.c", 12)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("? 1", "it begins with no letter of the format"),
        ("+ 10", "not enough values"),
        ("+ 10 7 aa0", "it refers to number 7, but there are only 1"),
        ("- x", "invalid literal"),
        ("m 20 /lib", "shorter than it says"),
        ("m 4 /lib 1000 0", "shorter than argument 1"),
        ("v 10400 4", "format 4, and this reads up to 3; update heapwright"),
        ("t 5", "not enough values"),
    ],
)
def test_a_line_that_is_not_heaptrack_is_named(open_text, line, complaint):
    with pytest.raises(TraceError, match=f"line 2 is not understood: .*{re.escape(complaint)}"):
        open_text(f"v 10400 3\n{line}\n+ 10 0 aa0\n".encode())


# --- ltrace


@pytest.mark.parametrize("name", ["ltrace.log", "ltrace-nested.log"])
def test_ltrace(name):
    trace = opened(name)
    story_of_the_program(trace, reallocs=1)
    assert trace.summary().threads == 2
    assert trace.summary().cross_thread_deallocs == 2
    assert 30_000 < int(trace.events.time[-1]) < 10_000_000
    assert {int(each) for each in trace.events.log2_align} == {0, 6}
    assert set(trace.notes()) == ({ltrace.NESTED, calls.UNMATCHED_FREE} if "nested" in name else set())


def test_overlapping_calls_and_hidden_results_of_ltrace():
    trace = opened("ltrace-busy.log")
    summary = trace.summary()
    assert (summary.allocs, summary.deallocs, summary.failed, summary.threads) == (17, 16, 1, 3)
    assert summary.live_blocks_at_end == 0
    assert trace.notes() == {ltrace.HIDDEN: 1, calls.UNMATCHED_FREE: 1}


def test_a_log_of_all_functions_and_a_program_that_is_none(open_text):
    trace = open_text(
        b'__libc_start_main(1, 2 <unfinished ...>\nputs("x") = 2\nmalloc(5) = 0x10\n+++ exited (status 0) +++\n'
    )
    assert rows(trace.events) == [(ALLOC, 0, 5)]
    with pytest.raises(TraceError, match="unknown kind of file"):
        open_text(b"int main(void) {\n    free(malloc(5));\n    free(p);\n}\n")


LTRACE = b"""\
[pid 7] 23:59:59.999999 prog->malloc(16 <unfinished ...>
[pid 8] 00:00:00.000001 prog->malloc(32)  = 0x20
[pid 7] 00:00:00.000002 <... malloc resumed> ) = 0x10
[pid 7] [0x400c] realloc(0x10, 64) = 0x30
[pid 8] --- SIGCHLD (Child exited) ---
[pid 8] prog->reallocarray(nil, 3, 5) = 0x40
[pid 8] prog->calloc(3, 5) = nil
[pid 8] prog->free(0x40) = <void>
[pid 8] prog->free(nil) = <void>
[pid 8] prog->strlen("a) = 5") = 6
[pid 8] prog->malloc(5 <no return ...>
[pid 8] +++ exited (status 0) +++
"""


def test_the_grammar_of_ltrace(open_text):
    trace = open_text(LTRACE)
    assert rows(trace.events) == [
        (ALLOC, 0, 32), (ALLOC, 1, 16), (REALLOC, 1, 64), (REALLOC, 2, 15), (ALLOC_ZEROED, NONE, 15), (DEALLOC, 2, 0),
        (DEALLOC, NONE, 0),
    ]  # fmt: skip
    assert trace.events.count.tolist() == [1, 1, 1, 1, 3, 1, 1]
    assert trace.events.time.tolist() == [2, 3, 3, 3, 3, 3, 3]
    assert trace.notes() == {ltrace.OTHERS: 2, ltrace.NEVER_RETURNED: 1}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"malloc(16) ", "it has no result"),
        (b"malloc(x) = 0x10", "an argument or the result is no number"),
        (b"calloc(1) = 0x10", "an argument or the result is no number"),
        (b"<... malloc resumed> )", "it has no result"),
        (b"what is this", "it is no call, no return and no event"),
    ],
)
def test_a_line_that_is_not_ltrace_is_named(open_text, line, complaint):
    with pytest.raises(TraceError, match=f"line 2 is not understood: {complaint}"):
        open_text(b"malloc(16) = 0x10\n" + line + b"\n")


# --- jemalloc


def test_a_heap_profile_of_jemalloc_is_what_is_in_use():
    trace = opened("jemalloc.heap")
    assert sorted(trace.events.size.tolist()) == [112, 112, 320, 5120, 81920]  # rounded up by jemalloc
    assert frames(trace, 112)[4].startswith("program+0x")
    assert trace.notes() == {jeprof.STATE: 5, jeprof.AVERAGED: 2}


def test_samples_of_jemalloc_are_scaled(open_text):
    counts = b"  t*: 2: 200 [0: 0]\n  t0: 1: 100 [0: 0]\n  t9: 1: 100 [0: 0]\n"
    trace = open_text(b"heap_v2/1000\n  t*: 3: 3000 [0: 0]\n@ 0x1 0x2\n" + counts)
    assert trace.events.size.tolist() == [100] * 22  # 1 / (1 - exp(-0.1)) = 10.5 for each thread
    assert trace.summary().threads == 2
    assert trace.notes() == {jeprof.STATE: 22, jeprof.ESTIMATED: 22}
    assert opened("jemalloc-sampled.heap").summary().blocks == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"heap_v2/x\n", "line 1 is not understood: the sample period"),
        (b"heap_v2/1\n@ 0x1 y\n", "line 2 is not understood: an address"),
        (b"heap_v2/1\n@ 0x1\n t0: 1\n", "line 3 is not understood: it is no call stack"),
        (b"heap_v2/1\n@ 0x1\n t0: 99999999999: 99999999999 [0: 0]\n", "it stands for 99,999,999,999 blocks"),
    ],
)
def test_a_damaged_heap_profile(open_text, text, complaint):
    with pytest.raises(TraceError, match=complaint):
        open_text(text)


# --- memray


def test_memray():
    pytest.importorskip("memray")
    trace = opened("memray.bin")
    assert trace.command[-1] == "program.py"
    assert frames(trace, 30_001)[:2] == ["parse_row", "worker"]
    first = trace.stacks.of(int(trace.events.site[trace.events.size == 10_001][0]))[0]
    assert (first.place, first.language) == ("program.py:2", "python")
    assert trace.processes[0].threads == ["", "worker"]
    worker = trace.events.thread[trace.events.size == 30_001]
    assert worker.tolist() == [1]
    assert (trace.events.op == REALLOC).sum() > 0
    assert set(trace.notes()) <= {memray.MAPPED, calls.UNMATCHED_FREE}


def test_memray_with_native_frames():
    pytest.importorskip("memray")
    trace = opened("memray-native.bin")
    languages = [frame.language for frame in trace.stacks.of(int(trace.events.site[trace.events.size == 10_001][0]))]
    assert {"native", "python"} <= set(languages)


def test_what_memray_cannot_give(tmp_path):
    pytest.importorskip("memray")
    with pytest.raises(TraceError, match="is an aggregated memray file; record again without --aggregate"):
        open_trace(FILES / "memray-aggregated.bin")
    (tmp_path / "cut").write_bytes((FILES / "memray.bin").read_bytes()[:64])
    with pytest.raises(TraceError, match="cut: memray cannot read it"):
        open_trace(tmp_path / "cut")


def test_without_memray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "memray", None)
    with pytest.raises(TraceError, match=re.escape("pip install 'heapwright[memray]'")):
        open_trace(FILES / "memray.bin")


# --- bpftrace


def test_bpftrace():
    trace = opened("bpftrace.log")
    story_of_the_program(trace, reallocs=1)
    assert trace.summary().threads == 2
    assert frames(trace, ROW)[:2] == ["parse_row", "main"]
    assert set(trace.notes()) <= {calls.UNMATCHED_FREE}


BPFTRACE = b"""\
Attaching 15 probes...
WARNING: something
heapwright bpftrace 1
3000 4000 8 malloc(16) = 0x20

\t55aa main+3 (/bin/prog)

1000 2000 7 calloc(2, 4) = 0x10

\t55aa 0x55aa ([unknown])

2500 2500 7 free(0x20) = <void>

4500 9000 7 realloc(0x10, 64) = 0x0

Lost 3 events
"""


def test_the_grammar_of_bpftrace(open_text):
    trace = open_text(BPFTRACE.replace(b"2500 2500", b"5000 5000"))
    assert rows(trace.events) == [(ALLOC_ZEROED, 0, 8), (ALLOC, 1, 16), (DEALLOC, 1, 0), (REALLOC, 0, 64)]
    assert trace.events.time.tolist() == [1, 3, 4, 8]
    assert [frame.function for frame in trace.stacks.frames] == ["main"]
    assert trace.notes() == {bpftrace.LINES_AROUND: 1, bpftrace.LOST_EVENTS: 3}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"1 2 3 malloc(4)", "no call and no frame"),
        (b"1 2 3 malloc(x) = 0x1", "an argument"),
        (b"1 2 3 calloc(4) = 0x1", "1 arg"),
    ],
)
def test_a_line_that_is_not_bpftrace_is_named(open_text, line, complaint):
    with pytest.raises(TraceError, match=f"line 2 is not understood: .*{complaint}"):
        open_text(b"heapwright bpftrace 1\n" + line + b"\n")
    with pytest.raises(TraceError, match="bpftrace printed no call"):
        open_text(b"heapwright bpftrace 1\n")


# --- the installed tools themselves


@pytest.fixture
def program(tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    subprocess.run(["gcc", "-g", "-O0", "-o", tmp_path / "program", FILES / "program.c", "-pthread"], check=True)
    return tmp_path / "program"


TOOLS = {
    "heaptrack -r": (["heaptrack", "-r", "-o", "out"], "out.raw.zst", 0),
    "heaptrack": (["heaptrack", "-o", "out"], "out.zst", 0),
    "ltrace": (["ltrace", "-f", "-ttt", "-o", "out", "-e", "malloc+free+realloc+calloc+aligned_alloc"], "out", 1),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_the_installed_tool_writes(tool, program, tmp_path):
    command, output, reallocs = TOOLS[tool]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run([*command, program], cwd=tmp_path, check=True, capture_output=True)
    story_of_the_program(open_trace(tmp_path / output), reallocs)


# --- compressed files


def compress(text):
    return columns.compressor(columns.LEVEL)(text)


def test_compressed_files_and_damage(open_text):
    text = b"1: malloc 0x10 100\n1: free 0x10\n"
    expected = rows(open_text(text).events)
    for packed in gzip.compress(text), compress(text), compress(text[:19]) + compress(text[19:]):
        assert rows(open_text(packed).events) == expected
        with pytest.raises(TraceError, match="is damaged|is cut off"):
            open_text(packed[:-3])
    with pytest.raises(TraceError, match="the zstd file is damaged"):
        open_text(compress(text)[:4] + b"\xff" * 20)


def test_times_that_go_back_are_counted(open_text):
    trace = open_text(b"v 10400 3\nc 10\n+ 1 0 a\nc 5\n+ 1 0 b\n")
    assert trace.events.time.tolist() == [16_000, 16_000]
    assert trace.notes() == {log.BACK_IN_TIME: 1}
