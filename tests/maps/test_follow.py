"""A replay that is followed: placements, residency, holes and failures of a real malloc."""

import numpy as np
import pytest

from heapwright.lab.contestant import Contestant
from heapwright.maps import follow
from heapwright.maps.follow import Hole, heap_map, largest_hole, stops_of, windows_between
from heapwright.maps.subject import subject_of
from heapwright.maps.text import LEGEND, drawn, letter, runs, seams
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.synthesize import demo

SYSTEM = Contestant("system", None)
KIB = 1024


def map_of(events, malloc=SYSTEM):
    subject = subject_of(Process(events), Trace([]).stacks)
    return heap_map(subject.flat, subject.sites, malloc)


def blocks(count, size, freed):
    """So many blocks, of which some are freed afterwards."""
    op = [ALLOC] * count + [DEALLOC] * len(freed)
    block = [*range(count), *freed]
    return Events.of(op=op, thread=[0] * len(op), block=block, size=[size] * count + [0] * len(freed))


def test_a_gap_between_blocks_is_the_largest_hole():
    found = map_of(blocks(64, 3 * KIB, range(20, 40)))
    assert 19 * 3 * KIB < found.hole.size < 21 * 3 * KIB + KIB
    assert found.hole.event == 84
    assert found.hole.size - 2 * 4096 < found.hole.resident <= found.hole.size
    assert found.placements == len(found.kept) == 64
    assert found.resident_bytes[-1] >= 64 * 3 * KIB  # glibc keeps the pages
    assert not found.failures


def test_what_is_given_back_is_not_resident_any_more():
    found = map_of(blocks(4, 1 << 20, range(4)))  # each has a mapping of its own
    peak = found.stops.index(4)
    assert found.resident_bytes[peak] >= 4 << 20
    assert found.resident_bytes[-1] == 0
    assert found.touched[-1] >= 4 << 20


def test_a_refused_request_is_a_failure_and_has_no_placement():
    events = Events.of(op=[ALLOC, ALLOC, DEALLOC], thread=[0] * 3, block=[0, 1, 1], size=[16, 1 << 62, 0])
    found = map_of(events)
    assert [tuple(each) for each in found.failures] == [(1, 1 << 62)]
    assert found.placements == 1


@pytest.mark.long
def test_only_the_largest_are_kept_singly(monkeypatch):
    monkeypatch.setattr(follow, "MAX_KEPT", 500)
    found, whole = map_of(demo()), 20_000
    assert len(found.kept) == 500 and found.placements > whole
    assert (np.diff(found.kept.start) > 0).all()


def test_stops_include_the_peak_and_windows_end_there():
    stops = stops_of(1000, 777)
    assert 777 in stops and stops[-1] == 1000 and len(stops) <= follow.STOPS + 1
    ends = [end for _, end in windows_between([3, 200_000])]
    assert ends == [3, 65_539, 131_075, 196_611, 200_000]


def test_an_empty_trace_has_an_empty_map():
    found = map_of(Events.of(op=[], thread=[], block=[], size=[]))
    assert found.placements == 0 and found.hole is None
    assert drawn(found, 40, 8) == []


def test_a_hole_across_extents_is_none():
    assert largest_hole(follow.Placements.join([]), [], 0) is None
    assert Hole(1, 2, 3, 4).size == 1


# --- as text


def test_a_map_as_text_is_legible_without_colour():
    lines = drawn(map_of(blocks(64, 3 * KIB, range(20, 40))), 60, 12)
    assert len(lines) == 12 and all(len(line.text) == 60 for line in lines)
    assert [line.address for line in lines] == sorted((line.address for line in lines), reverse=True)
    bottom, top = lines[-1].text, lines[0].text
    assert bottom.strip("█▓▒░") == ""
    assert top[0] == " " and top[-1] in "█▓"
    assert any(line.text.endswith(":") for line in lines), "the hole is resident"


def test_what_was_given_back_is_a_dot():
    lines = drawn(map_of(blocks(4, 1 << 20, range(4))), 32, 8)
    assert {line.text[-1] for line in lines} == {"."}


@pytest.mark.parametrize(
    ("cover", "resident", "ever", "expected"),
    [(1, 1, 1, "█"), (0.6, 0, 1, "▓"), (0.03, 0, 1, "░"), (0, 0.9, 1, ":"), (0, 0.1, 1, "."), (0, 0, 0.2, " ")],
)
def test_a_cell_shows_what_it_mostly_is(cover, resident, ever, expected):
    assert letter(cover, resident, ever) == expected
    assert expected in LEGEND


def test_a_line_has_runs_of_one_style():
    assert list(runs("██░ ..")) == [("██░", "blue"), (" ", ""), ("..", "dim")]


def test_gaps_of_addresses_are_counted():
    assert seams(map_of(blocks(4, 1 << 20, []))) <= 3
