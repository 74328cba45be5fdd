"""`heapwright smallest`, `blame` and `diverge`: what they say of a recording, and what they refuse."""

from __future__ import annotations

import json

import pytest

from heapwright.cli.options import Size
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace, no_events
from heapwright.traces.format import write
from heapwright.traces.stacks import Frame, Stacks

pytestmark = pytest.mark.long

PAIRS = 60  # of a large block for `load` and a small one for `keep`; then the large ones are freed
SECOND = 1_000_000  # microseconds


def trace_with(sites, times):
    """Large blocks go, small ones stay; the last request is too large for any hole."""
    stacks = Stacks()
    load, keep = (stacks.add([Frame("malloc"), Frame(name, "app.c", 7)]) for name in ("load", "keep"))
    op = [ALLOC] * 2 * PAIRS + [DEALLOC] * PAIRS + [ALLOC]
    block = [*range(2 * PAIRS), *range(0, 2 * PAIRS, 2), 2 * PAIRS]
    size = [*[3000, 24] * PAIRS, *[0] * PAIRS, 5000]
    site = [*[load, keep] * PAIRS, *[0] * PAIRS, load]
    columns = {"site": site} if sites else {}
    if times:
        columns["time"] = [SECOND + 1000 * i for i in range(len(op))]
    events = Events.of(op=op, thread=[0] * len(op), block=block, size=size, **columns)
    return Trace([Process(events, 7, command="app")], stacks=stacks if sites else Stacks())


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "app.hwt"
    write(path, trace_with(sites=True, times=True))
    return path


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.hwt"
    write(path, trace_with(sites=False, times=False))
    return path


def printed(heapwright, *arguments):
    done = heapwright(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- smallest


def test_the_smallest_heap_is_printed_with_the_request_that_one_page_less_refuses(heapwright, recording):
    report = json.loads(printed(heapwright, "smallest", recording, "-a", "kr", "--json"))
    [result] = report["results"]
    fails = result["fails_below"]
    assert result["smallest_bytes"] % 4096 == 0
    assert result["smallest_bytes"] > report["trace"]["peak_live_bytes"]
    assert len(result["tried_below_bytes"]) <= 101
    assert result["failed_above_bytes"] == []
    assert fails["call"] == "malloc"
    lines = printed(heapwright, "smallest", recording, "-a", "kr").splitlines()
    assert lines[-1].split()[:2] == ["kr", f"{result['smallest_bytes']:,}"]
    assert lines[-1].endswith(f"event {fails['event']:,}, malloc of {fails['bytes']:,}")


def test_a_malloc_that_cannot_run_the_trace_is_not_measured(heapwright, tmp_path):
    events = Events.of(op=[ALLOC], thread=[0], block=[0], size=[1 << 46])
    write(tmp_path / "wild.hwt", Trace([Process(events)]))
    text = printed(heapwright, "smallest", tmp_path / "wild.hwt", "-a", "system")
    assert text.splitlines()[-1] == "system is not measured: it fails at event 1 even without a limit"


# --- blame


def test_blame_names_who_holds_the_pages(heapwright, recording):
    report = json.loads(printed(heapwright, "blame", recording, "-a", "kr", "--at", "170ms", "--json"))
    [result] = report["results"]
    [first] = [each for each in result["groups"] if each["name"].startswith("keep")]
    assert result["by"] == "site"
    assert first == result["groups"][0]
    assert first["blocks"] == PAIRS
    assert result["moment"]["seconds"] == 0.17
    lines = printed(heapwright, "blame", recording, "-a", "kr", "--at", "end").splitlines()
    assert any(line.startswith("keep (app.c:7)") for line in lines)


def test_blame_at_the_limit_names_the_request_and_the_holes(heapwright, recording, plain):
    small = json.loads(printed(heapwright, "smallest", recording, "-a", "kr", "--json"))["results"][0]
    limit = small["smallest_bytes"] - 4096
    lines = printed(heapwright, "blame", recording, "-a", "kr", "--limit", limit).splitlines()
    fails = small["fails_below"]
    [title] = [line for line in lines if " fails at " in line]
    assert title.startswith(f"kr in {limit:,} bytes fails at event {fails['event']:,} at ")
    assert title.endswith(f"malloc of {fails['bytes']:,} bytes by thread 1, for load (app.c:7)")
    assert any(line.startswith("largest hole: ") and "for " in line for line in lines)
    enough = printed(heapwright, "blame", plain, "-a", "kr", "--limit", "8M")
    assert "kr serves all requests in 8,388,608 bytes; this is the end" in enough


def test_a_moment_may_be_a_part_or_an_event(heapwright, plain):
    for at, event in (("50%", 90), ("123", 123), ("0%", 0)):
        [result] = json.loads(printed(heapwright, "blame", plain, "--at", at, "--json"))["results"]
        assert (result["events"], result["by"]) == (event, "size")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--at", "end", "--limit", "1M"), "--at has no effect with --limit"),
        (("--at", "1.5s"), "the trace has no times: give the number of an event"),
        (("--at", "182"), "--at '182' is after the end at event 181"),
        (("--at", "101%"), "is no moment"),
        (("--by", "site"), "the trace has no call sites"),
        (("--limit", "much"), "'much' is no number of bytes"),
        (("--process", "all"), "one process is looked at"),
    ],
)
def test_what_makes_no_sense_is_refused(refused, plain, arguments, reason):
    assert reason in refused("blame", plain, *arguments)


def test_a_time_after_the_end_is_refused(refused, recording):
    assert "is after the end at 180 ms" in refused("blame", recording, "--at", "2s")


# --- diverge


def test_the_first_difference_is_printed_with_both_neighbourhoods(heapwright, plain):
    pair = ("-a", "system", "-a", "system{MALLOC_MMAP_THRESHOLD_=2000}")
    lines = printed(heapwright, "diverge", plain, *pair).splitlines()
    report = json.loads(printed(heapwright, "diverge", plain, *pair, "--json"))
    event = report["first"]["event"]
    assert lines[2].startswith(f"they differ first at event {event}, malloc of 3,000 bytes; in all, ")
    assert sum(line.strip().startswith(f"{event}  <- new") for line in lines) == 2
    assert report["requests"] == 121
    assert [each["is_mapped"] for each in report["sides"]] == [False, True], "the heap has no room left"


def test_the_same_malloc_does_not_differ(heapwright, plain):
    text = printed(heapwright, "diverge", plain, "-a", "system", "-a", "again=system")
    assert text.splitlines()[-1] == "system and again serve 121 requests at the same places"


def test_two_mallocs_are_needed(refused, plain):
    assert "give -a twice" in refused("diverge", plain, "-a", "kr")


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (("smallest", "-a", "system"), "system 0 - 0 0 fail -"),
        (("blame",), "of 0 pages, 0 are full, 0 partly used, and 0 (-) hold no block"),
        (("diverge", "-a", "system", "-a", "b=system"), "system and b serve 0 requests at the same places"),
    ],
)
def test_a_trace_without_events(heapwright, tmp_path, arguments, end):
    path = tmp_path / "empty.hwt"
    write(path, Trace([Process(no_events())]))
    name, *options = arguments
    assert " ".join(printed(heapwright, name, path, *options).splitlines()[-1].split()) == end


# --- sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("4,096", 4096), ("6M", 6 << 20), ("1.5KiB", 1536), ("2gb", 2 << 30), ("12B", 12)],
)
def test_sizes_have_units(text, size):
    assert Size().convert(text, None, None) == size
