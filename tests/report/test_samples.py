"""The report on a sample: figures are estimates with their errors, and what a sample does not know is left out."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import service
from samples import drawn

from heapwright.report.findings import findings
from heapwright.report.page import process_data
from heapwright.report.profile import profile
from heapwright.report.remarks import headline, remarks
from heapwright.report.source import Loaded
from heapwright.report.timeline import timeline
from heapwright.traces.events import REALLOC, Process, Trace

RATE, RUNS = 20_000, 40


def loaded(events, rate=0):
    return Loaded(Trace([Process(events, 4711, sample=rate)], "recording", stacks=service(1).stacks))


@pytest.fixture(scope="module")
def whole():
    """The findings on a recording without reallocs, and on samples of it."""
    events = service(requests=300, rows=200).events
    return events[events.op != REALLOC]


@pytest.fixture(scope="module")
def exact(whole):
    return findings(profile(loaded(whole), 0))


@pytest.fixture(scope="module")
def samples(whole):
    return [findings(profile(loaded(drawn(whole, RATE, seed), RATE), 0)) for seed in range(RUNS)]


def is_near(found, true):
    """Whether the mean of many estimates is the truth, up to four of its standard errors."""
    return abs(np.mean(found) - true) <= 4 * np.std(found) / RUNS**0.5


def by_name(rows, name, key):
    return sum(row[key] for row in rows if row["function"] == name)


@pytest.mark.parametrize(
    "path", [("requests", "bytes"), ("requests", "count"), ("end", "bytes"), ("end", "blocks"), ("frees", "count")]
)
def test_totals_are_unbiased(exact, samples, path):
    part, key = path
    assert is_near([each[part][key] for each in samples], exact[part][key])


@pytest.mark.parametrize("function", ["parse_row", "remember", "decode"])
def test_so_are_those_of_each_function(exact, samples, function):
    true = by_name(exact["requests"]["callers"], function, "bytes")
    assert is_near([by_name(each["requests"]["callers"], function, "bytes") for each in samples], true)
    errors = [by_name(each["requests"]["callers"], function, "error") for each in samples]
    values = [by_name(each["requests"]["callers"], function, "bytes") for each in samples]
    assert 0.5 < np.mean(np.square(errors)) / np.var(values) < 2


def test_sizes_lifetimes_and_threads_are_weighted(exact, samples):
    for part, key in (("sizes", "count"), ("lifetimes", "bytes"), ("threads", "frees")):
        assert is_near([sum(row[key] for row in each[part]) for each in samples], sum(row[key] for row in exact[part]))


def test_what_a_sample_does_not_know_is_left_out(exact, samples):
    first = samples[0]
    assert (first["temporary"], first["growth"]) == (None, None)
    assert (exact["sample"], first["sample"]["bytes"]) == (None, RATE)
    assert not {"temporary", "growth"} & {each.rule for each in remarks(first)}
    assert "error" not in exact["peak"]
    assert "error" not in exact["requests"]["callers"][0]


def test_the_first_line_has_the_error(samples):
    line = headline(samples[0])
    assert line.startswith(f"{samples[0]['sample']['requests']} sampled requests of")
    assert line.count("about") == line.count(" ± ") == 2


def test_the_page_shows_the_same(whole, samples):
    source = loaded(drawn(whole, RATE, 0), RATE)
    found = profile(source, 0)
    times = timeline(source, found, 1000)
    data = process_data(found, times)
    assert data["sample"] == samples[0]["sample"]
    for metric, total in (("requested", "bytes"), ("requests", "count")):
        difference = times.matrices[metric].sum() - samples[0]["requests"][total]
        assert abs(difference) <= times.matrices[metric].size / 2
    assert times.matrices["left"].sum() == samples[0]["end"]["bytes"]
    assert times.matrices["peak"].max(axis=0).max() <= samples[0]["peak"]["bytes"]
