"""Call stacks: each frame and each stack is kept once, and the outer frames of stacks are shared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.traces import columns, format
from heapwright.traces.stacks import PYTHON, UNKNOWN, Frame, Stacks

MAIN, PARSE, GROW = (
    Frame("main", "a.c", 30, "/bin/a"),
    Frame("parse", "a.c", 9, "/bin/a"),
    Frame("grow", "x.py", 3, "", PYTHON),
)
FRAMES = st.builds(Frame, st.sampled_from("fgh"), st.sampled_from(["", "a.c"]), st.integers(0, 2))


def test_stacks_share_their_outer_frames():
    stacks = Stacks()
    one, two = stacks.add([PARSE, MAIN]), stacks.add([GROW, PARSE, MAIN])
    assert stacks.add([PARSE, MAIN]) == one
    assert (stacks.of(one), stacks.of(two)) == ([PARSE, MAIN], [GROW, PARSE, MAIN])
    assert (len(stacks), len(stacks.frames)) == (4, 3)
    assert stacks.add([]) == UNKNOWN
    assert stacks.of(UNKNOWN) == []


@pytest.mark.long
@given(st.lists(st.lists(FRAMES, max_size=6), max_size=20))
def test_what_is_added_is_found_also_after_writing(lists):
    stacks = Stacks()
    numbers = [stacks.add(frames) for frames in lists]
    again, _ = format.decode_stacks(format.encode_stacks(stacks))
    assert again == stacks
    assert [again.of(number) for number in numbers] == lists
    assert [again.add(frames) for frames in lists] == numbers


def test_stacks_that_make_no_sense_are_damage():
    for parents, innermost in ([0, 1], [0, 0]), ([0, 0], [0, 1]), ([0, 0], [0]):
        with pytest.raises(columns.Damaged, match="its stacks make no sense"):
            format.decode_stacks(format.encode_stacks(Unchecked(parents, innermost)))


class Unchecked(Stacks):
    def __init__(self, parents, innermost):
        self.frames, self.parents, self.innermost = [MAIN], parents, innermost


@pytest.mark.parametrize(
    ("frame", "place"),
    [(MAIN, "a.c:30"), (Frame("f", "a.c"), "a.c"), (Frame("f", module="/lib/x.so"), "/lib/x.so"), (Frame("f"), "")],
)
def test_a_place_says_what_is_known(frame, place):
    assert frame.place == place
