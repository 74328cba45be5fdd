"""The curve of live bytes: bounded, and right whenever the events happen."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heapwright.report import curve
from heapwright.report.curve import CAPACITY, Curve

STEPS = st.lists(st.tuples(st.sampled_from([0, 0, 1, 5, 3000, 1 << 40]), st.integers(0, 1000)), max_size=50)


class Part(SimpleNamespace):
    def __len__(self):
        return len(self.x)


def parts_of(x, live, size):
    for first in range(0, len(x), size):
        yield Part(x=np.array(x[first : first + size]), live_bytes=np.array(live[first : first + size]))


def drawn(x, live, size):
    made = Curve()
    for part in parts_of(x, live, size):
        made.add(part)
    return made.points()


@given(STEPS, st.integers(1, 20))
def test_each_bin_has_the_highest_the_lowest_and_the_last_value(steps, size):
    x, live = np.cumsum([7, *(step for step, _ in steps)])[1:].tolist(), [value for _, value in steps]
    points = drawn(x, live, size)
    assert len(points) <= CAPACITY
    if not steps:
        assert len(points) == 0
        return
    assert (points.start, points.end) == (x[0], x[-1])
    width = next(1 << power for power in range(64) if (x[-1] - x[0]) >> power < CAPACITY)
    before = live[0]
    for number in {0, len(points) - 1, *((each - x[0]) // width for each in x)}:
        inside = [value for each, value in zip(x, live, strict=True) if (each - x[0]) // width == number]
        found = points.high[number], points.low[number], points.last[number]
        assert found == (max(inside), min(inside), inside[-1])
    assert before == live[0]


def test_a_quiet_time_continues_what_was_live():
    points = drawn([0, 4], [10, 3], 1)
    assert points.high.tolist() == [10, 10, 10, 10, 3]
    assert points.low.tolist() == [10, 10, 10, 10, 3]


def test_it_stays_bounded(monkeypatch):
    monkeypatch.setattr(curve, "CAPACITY", 8)
    points = drawn(list(range(1000)), list(range(1000)), 10)
    assert points.high.tolist() == [127, 255, 383, 511, 639, 767, 895, 999]
