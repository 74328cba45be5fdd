"""What the stepper's reader sees, without a terminal."""

import pytest

from heapwright.pictures.svg import draw_svg
from heapwright.stepper.events import Kind
from heapwright.stepper.view import View


def view_of(recording, position):
    view = View(recording)
    view.go(position)
    return view


def plain(lines):
    return [line.plain for line in lines]


@pytest.mark.parametrize("name", ["hoard", "ptmalloc", "slab"])
def test_the_first_call_of_a_large_allocator_can_be_read(recorded, name):
    recording = recorded("boxtest", name)
    first = recording.calls[0]
    view = view_of(recording, first.last + 1)
    lines = plain(view.access_lines(150, 10_000))
    assert first.last - first.first > 100
    assert len(lines) <= 40
    assert lines[-1].startswith("▶ return 0x")


def test_an_outline_shows_where_we_are(recorded):
    recording = recorded("boxtest", "ptmalloc")
    view = view_of(recording, 0)
    call = recording.calls[0]
    for position in range(call.first + 1, call.last + 2, 5):
        view.go(position)
        marked = [line for line in plain(view.access_lines(100, 7)) if line.startswith("▶")]
        assert len(marked) == 1, position


def test_a_row_is_passed_in_one_step(recorded):
    view = view_of(recorded("boxtest", "ptmalloc"), 1)
    last, steps = view.calls[0].last, 0
    while view.position <= last:
        view.go(next(end for end in view.row_ends() if end > view.position))
        steps += 1
    assert steps <= 40


def test_each_pane_fits_and_shows_the_current_line(recorded):
    recording = recorded("boxtest", "kr")
    for position in range(0, len(recording.log) + 1, 7):
        view = view_of(recording, position)
        for pane in (view.call_lines, view.access_lines, view.heap_lines, view.word_lines):
            lines = pane(60, 5)
            assert len(lines) <= 5 and all(line.cell_len <= 60 for line in lines)
        assert position == 0 or any(line.startswith("▶") for line in plain(view.call_lines(60, 5)))


def test_words_have_names_values_and_summaries(recorded):
    recording = recorded("a = alloc 24; b = alloc 64; free a", "kr")
    view = view_of(recording, len(recording.log))
    view.selected = recording.calls[1].result
    lines = plain(view.word_lines(80, 40))
    assert any("Block.units" in line and line.endswith(" 5") for line in lines)
    assert any("block #2" in line and "5a5a5a5a5a5a5a5a  × 8 words" in line for line in lines)


def test_in_the_middle_of_a_change_the_heap_before_the_call_is_shown(recorded):
    recording = recorded("a = alloc 24; b = alloc 64", "kr")
    call = recording.calls[1]
    torn = [view_of(recording, number) for number in range(call.first + 1, call.last + 1)]
    torn = [view for view in torn if view.torn]
    assert torn
    before = view_of(recording, call.first)
    for view in torn:
        assert view.shown.spans == before.shown.spans
        assert plain(view.heap_lines(200, 20))[0].startswith("in the middle of a change: its blocks do not follow")


def test_the_block_follows_the_accesses_until_one_is_chosen(recorded):
    recording = recorded("a = alloc 24; b = alloc 64; free a", "kr")
    view = view_of(recording, recording.calls[2].last + 1)
    freed = view.block()
    assert freed.kind == "free" and freed.start < recording.calls[0].result < freed.end
    view.move(-1)
    assert view.block().end == freed.start
    view.selected = None
    assert view.block() == freed


def test_the_source_is_the_line_that_made_the_access(recorded):
    recording = recorded("boxtest", "kr")
    view = view_of(recording, 1)
    assert str(view.source()[0]) == "boxtest.py:8"
    store = next(event for event in recording.log if event.kind == Kind.STORE)
    view.go(store.number + 1)
    place, path = view.source()
    assert str(place).startswith("kr.py:") and path.startswith("alloc › ")


def test_a_picture_has_the_call_and_its_words(recorded):
    recording = recorded("boxtest", "kr")
    view = view_of(recording, recording.calls[6].last + 1)
    picture = view.picture()
    assert "#7 dealloc(0x17ff0, 16, align 8)" in picture.text()
    assert "store  rover: 0x8000 -> 0x17fc0" in picture.text()
    assert picture.svg() == draw_svg(picture.scene, [(line.plain, str(line.style)) for line in picture.heading])
    assert view.file_name("boxtest") == f"boxtest-7-{view.position}.svg"
