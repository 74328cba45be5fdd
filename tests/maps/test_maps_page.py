"""The page of maps as a file: it is whole, it stays small, and what is not kept singly is in cells."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
from recorded import service

from heapwright.lab.contestant import Contestant
from heapwright.maps import page
from heapwright.maps.follow import heap_map
from heapwright.maps.page import coarse, highest, make_page
from heapwright.maps.raster import COVER
from heapwright.maps.subject import subject_of
from heapwright.traces.events import Events, Process, Trace
from heapwright.traces.synthesize import demo

SYSTEM = Contestant("system", None)


def mapped(trace):
    subject = subject_of(trace.processes[0], trace.stacks)
    return subject, [heap_map(subject.flat, subject.sites, SYSTEM)]


def data_of(text):
    return json.loads(zlib.decompress(base64.b64decode(re.search(r'id="data">([^<]*)<', text)[1])))


@pytest.fixture(scope="module")
def recorded():
    return mapped(service())


def test_all_blocks_of_a_small_trace_are_there_with_their_sites(recorded):
    subject, maps = recorded
    text = make_page("a <b>", "facts", subject, maps)
    data = data_of(text)
    assert "<h1>a &lt;b&gt;</h1>" in text and not re.search(r"\{\{\w+\}\}", text)
    starts = np.cumsum(data["blocks"]["start"])
    assert len(starts) == maps[0].placements and data["maps"][0]["rest"] is None
    sites = [data["sites"][site] for site in data["blocks"]["site"]]
    assert sites[0] == "load_table (service.py:20)"
    assert data["sites"][0] == "parse_row (service.py:12)", "it has most of the map"
    assert data["times"][0] == 0 and data["times"][-1] == subject.times[-1]


def test_places_lead_back_to_addresses(recorded):
    subject, (each,) = recorded
    (found,) = data_of(make_page("t", "", subject, [each]))["maps"]
    chunks, places = np.cumsum(found["chunks"]), np.cumsum(found["places"]) * found["unit"]
    rows, within = places >> found["shift"], places & (1 << found["shift"]) - 1
    assert ((chunks[rows] << found["shift"]) + within == each.kept.address).all()


def test_two_maps_share_what_is_the_same(recorded):
    subject, (each,) = recorded
    one, two = (len(make_page("t", "", subject, [each] * count)) for count in (1, 2))
    assert two - one < 0.5 * (one - 300_000)


@pytest.mark.long
def test_a_page_that_would_be_too_large_has_the_rest_in_cells(monkeypatch):
    subject, maps = mapped(Trace([Process(demo())]))
    monkeypatch.setattr(page, "MAX_BYTES", 440_000)
    text = make_page("t", "", subject, maps)
    data, (each,) = data_of(text), maps
    assert len(text.encode()) <= 440_000
    (found,) = data["maps"]
    kept = len(data["blocks"]["start"])
    assert 100 < kept < each.placements
    single = each.kept.largest(kept).surface.sum()
    cells = sum(np.cumsum(expanded(steps)).sum() for steps in found["rest"]["cover"]) / page.LEVELS
    cell = found["width"] * found["rest"]["step"] * found["factor"] << found["shift"]
    whole = each.raster.channel(COVER).sum() * (each.raster.width << each.raster.shift)
    assert whole == pytest.approx(single + cells * cell, rel=0.02)


def expanded(steps):
    """A row of differences, from its gaps and steps."""
    row = np.zeros(page.REST_COLUMNS)
    row[np.cumsum(steps[::2], dtype=np.int64)] = steps[1::2]
    return row


def test_no_events_are_no_error():
    subject, maps = mapped(Trace([Process(Events.of(op=[], thread=[], block=[], size=[]))]))
    data = data_of(make_page("t", "", subject, maps))
    assert data["events"] == 0 and data["blocks"]["start"] == [] and data["maps"][0]["chunks"] == []


def test_groups_of_cells_have_their_mean():
    assert coarse(np.arange(16.0).reshape(4, 4), 2, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_the_curve_keeps_its_peaks():
    values = np.arange(5000) % 977
    assert len(highest(values, 1024)) <= 1024 and highest(values, 1024).max() == 976
