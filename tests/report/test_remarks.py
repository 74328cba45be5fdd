"""What is remarkable is said, with its figures, and the rest is not."""

import pytest
from recorded import service

from heapwright.report.findings import findings
from heapwright.report.profile import profile
from heapwright.report.remarks import PARTS, remarks
from heapwright.report.source import Loaded
from heapwright.traces.events import ALLOC, DEALLOC, FAILED, NONE, REALLOC, Events, Process, Trace


def of_trace(trace):
    return {remark.rule: remark.text for remark in remarks(findings(profile(Loaded(trace), 0)))}


def of_events(**columns):
    columns.setdefault("thread", [0] * len(columns["op"]))
    return of_trace(Trace([Process(Events.of(**columns))]))


@pytest.fixture(scope="module")
def said():
    return of_trace(service())


def test_the_most_remarkable_comes_first(said):
    assert list(said) == ["peak", "spike", "temporary", "left", "sizes", "growth"]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("peak", "57 % of the peak was asked for by Report::append (report.cpp:33): 1.0 MiB in 1 block"),
        ("spike", "the peak is a spike at 1.69 s: half of it is live during 2 % of the time"),
        (
            "temporary",
            "80 % of the 5,012 requests were temporary, freed after at most 1 other request; "
            "100 % of these by decode (json.py:337)",
        ),
        ("left", "0.5 MiB in 701 blocks were never freed; 62 % of it was asked for by parse_row (service.py:12)"),
        ("sizes", "60 % of the requests are for 33 to 64 bytes"),
        (
            "growth",
            "10 reallocs made blocks grow, one block 10 times; that may copy 1.0 MiB, "
            "100 % of it for Report::append (report.cpp:33)",
        ),
    ],
)
def test_a_sentence_has_its_figures(said, rule, text):
    assert said[rule] == text


def test_a_leak_that_grows_is_said():
    count = 64 * PARTS
    said = of_events(op=[ALLOC] * count, block=range(count), size=[100] * count)
    assert said["growing"].startswith(
        "live memory never stops growing: at least 6.3 KiB are live early on and 43.8 KiB late"
    )
    freed = of_events(
        op=[ALLOC] * count + [DEALLOC] * count, block=[*range(count)] * 2, size=[100] * count + [0] * count
    )
    assert "growing" not in freed


def test_failed_requests_are_said():
    said = of_events(op=[ALLOC, ALLOC], block=[0, NONE], size=[8, 1 << 60], flags=[0, FAILED])
    assert said["refused"] == "1 request failed"


def test_frees_by_other_threads_are_said():
    blocks = [*range(200)] * 2
    columns = {"op": [ALLOC] * 200 + [DEALLOC] * 200, "block": blocks, "size": [8] * 200 + [0] * 200}
    assert (
        of_events(**columns, thread=[0] * 200 + [1] * 200)["foreign"]
        == "100 % of the frees are of another thread's blocks"
    )
    assert "foreign" not in of_events(**columns)


def test_without_call_sites_sizes_are_named():
    said = of_events(op=[ALLOC, DEALLOC, ALLOC, REALLOC], block=[0, 0, 1, 1], size=[100, 0, 40, 4000])
    assert said["peak"] == "100 % of the peak is in blocks of 2,049 to 4,096 bytes: 3.9 KiB in 1 block"
    assert said["temporary"].endswith("; 100 % of these are blocks of 65 to 128 bytes")
    assert "growth" not in said


def test_no_events_are_not_remarkable():
    assert of_events(op=[], block=[], size=[]) == {}
