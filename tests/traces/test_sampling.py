"""Estimates from samples that are drawn here, from recordings whose totals are known."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from recorded import service
from samples import drawn
from wire import fields

from heapwright.traces.events import ALLOC, DEALLOC, FAILED, INHERITED, Events, Process, Trace, TraceError, live
from heapwright.traces.exporters import write_as
from heapwright.traces.exporters.usage import measures
from heapwright.traces.sampling import (
    chances,
    live_estimate,
    live_figures,
    require_all,
    total_bytes,
    variances,
    weights,
)

RATE, RUNS = 20_000, 200


@pytest.fixture(scope="module")
def whole():
    """A process without reallocs."""
    events = service(requests=400).events
    return events[events.op != 3]


@pytest.fixture(scope="module")
def samples(whole):
    return [drawn(whole, RATE, seed) for seed in range(RUNS)]


def trace_of(events, rate=RATE):
    """A trace with the call stacks of the recording."""
    return Trace([Process(events, sample=rate)], stacks=service(1).stacks)


def within(found, true):
    """Whether the mean of many estimates is the truth, up to four of its standard errors."""
    return abs(np.mean(found) - true) <= 4 * np.std(found) / len(found) ** 0.5


def test_the_total_and_its_error(whole, samples):
    true = total_bytes(whole, 0)
    assert (true.value, true.error) == (whole.size[whole.op == ALLOC].sum(), 0)
    found = [total_bytes(each, RATE) for each in samples]
    assert within([each.value for each in found], true.value)
    assert 0.7 < np.mean([each.error**2 for each in found]) / np.var([each.value for each in found]) < 1.4
    inside = sum(abs(each.value - true.value) < 2 * each.error for each in found)
    assert inside > 0.88 * RUNS


def test_live_memory_at_the_end(whole, samples):
    live_bytes, live_blocks = (column[-1] for column in live(whole))
    figures = [live_figures(each, RATE) for each in samples]
    assert within([each["live_bytes_at_end"] for each in figures], live_bytes)
    assert within([each["live_blocks_at_end"] for each in figures], live_blocks)
    assert live_figures(whole, 0)["live_bytes_at_end"] == live_bytes


def test_all_events_are_their_own_estimate(whole):
    for estimate, exact in zip(live_estimate(whole, 0), live(whole), strict=True):
        assert np.array_equal(estimate, exact)
    assert weights(whole.size, 0).tolist() == [1] * len(whole)
    assert not variances(whole.size, 0).any()


def test_chances():
    assert chances([0, 9, 10**9], 10).tolist() == pytest.approx([0.0951625820, 0.6321205588, 1])


def test_what_is_inherited_or_failed_was_not_asked_for():
    events = Events.of(
        op=[ALLOC] * 3, thread=[0] * 3, block=[0, -1, 1], size=[100, 50, 7], flags=[INHERITED, FAILED, 0]
    )
    assert total_bytes(events, 1 << 40).value == pytest.approx(7 * (1 << 40) / 8)


def test_a_realloc_within_the_sample():
    events = Events.of(op=[ALLOC, 3, DEALLOC], thread=[0] * 3, block=[0] * 3, size=[9, 99, 0])
    weight = weights([9, 99], 100)
    live_bytes, live_blocks = live_estimate(events, 100)
    assert live_bytes.tolist() == [round(9 * weight[0]), round(99 * weight[1]), 0]
    assert live_blocks.tolist() == [round(weight[0]), round(weight[1]), 0]


def test_exports_have_estimates(whole, samples, tmp_path):
    for measure in ("total-bytes", "end-bytes", "requests"):
        true = measures(Process(whole))[1][measure].sum()
        assert within([measures(Process(each, sample=RATE))[1][measure].sum() for each in samples], true)
    notes = write_as("pprof", tmp_path / "t.pb.gz", trace_of(samples[0]))
    assert any("estimates" in note for note in notes)
    profile = fields(gzip.decompress((tmp_path / "t.pb.gz").read_bytes()))
    strings = [each.decode() for each in profile[6]]
    kind = fields(profile[11][0])
    assert (strings[kind[1][0]], strings[kind[2][0]], profile[12]) == ("space", "bytes", [RATE])


@pytest.mark.parametrize("form", ["rep", "android"])
def test_what_is_for_replays_is_refused(samples, tmp_path, form):
    trace = trace_of(samples[0])
    with pytest.raises(TraceError, match="is a sample"):
        write_as(form, tmp_path / "t.txt", trace)
    with pytest.raises(TraceError, match="without --sample"):
        require_all(trace, "t.hwt")


def test_cut_and_merge_keep_the_rate(samples, tmp_path, heapwright):
    for name, rate in (("a", RATE), ("b", 0)):
        write_as("hwt", tmp_path / f"{name}.hwt", trace_of(samples[0], rate))
    from heapwright.traces.format import read

    part, both = tmp_path / "part.hwt", tmp_path / "both.hwt"
    assert heapwright("trace", "cut", tmp_path / "a.hwt", "--events", ":20", "-o", part).returncode == 0
    assert heapwright("trace", "merge", tmp_path / "a.hwt", tmp_path / "b.hwt", "-o", both).returncode == 0
    assert [each.sample for each in read(part).processes] == [RATE]
    assert [each.sample for each in read(both).processes] == [RATE, 0]
