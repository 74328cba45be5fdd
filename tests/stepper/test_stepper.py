"""A position of the stepper is the same however it was reached, and shows what the machine showed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright.allocators import ALLOCATORS
from heapwright.programs.run import find_program, run_program
from heapwright.programs.scene import look_at
from heapwright.programs.script import main_of
from heapwright.programs.story import alloc
from heapwright.programs.watch import CALLS, Watch
from heapwright.stepper.events import Kind
from heapwright.stepper.recorder import record
from heapwright.stepper.stepper import Stepper, Stop

POWERS = Path(__file__).parents[2] / "examples" / "powers_of_two.py"
TRIES = settings(max_examples=40, deadline=None)
PROGRAM = "a = alloc 24; b = alloc 100 64; free a; c = zeroed 40; b = realloc b 3000; usable c; trim; free b; free c"
MOVES = st.lists(
    st.one_of(
        st.sampled_from(["next_call", "previous_call", "end"]).map(lambda name: (name,)),
        st.tuples(st.sampled_from(["forward", "back"]), st.integers(1, 30)),
        st.tuples(st.just("to_call"), st.integers(0, 12)),
        st.tuples(st.just("go"), st.integers(-5, 1000)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def kr(recorded):
    return recorded(PROGRAM, "kr")


def at(recording, position):
    """A fresh stepper at a position."""
    stepper = Stepper(recording)
    stepper.go(position)
    return stepper


@TRIES
@given(moves=MOVES)
def test_any_walk_ends_in_the_state_of_a_fresh_run_to_that_position(kr, moves):
    stepper = Stepper(kr)
    for name, *given_ in moves:
        getattr(stepper, name)(*given_)
        assert 0 <= stepper.position <= len(kr.log)
    fresh = at(kr, stepper.position)
    assert stepper.state == fresh.state
    assert stepper.drawable() == fresh.drawable()


@pytest.mark.long
@pytest.mark.parametrize("name", ALLOCATORS)
def test_after_each_call_the_heap_is_as_the_machine_showed_it(recorded, name):
    shown = []
    watch = Watch(lambda *seen: shown.append(look_at(*seen).scene()))
    run_program(find_program("boxtest"), name, ("boxtest",), watcher=watch)
    stepper = Stepper(recorded("boxtest", name))
    calls = [call for call in stepper.calls if call.name in CALLS]
    assert len(calls) == len(shown) == 8
    for call, scene in zip(calls, shown, strict=True):
        stepper.go(call.last + 1)
        assert stepper.scene() == scene
        assert stepper.verdict() == ""


def test_a_recording_has_every_word_with_its_old_and_new_value(kr):
    memory = {}
    for event in kr.log:
        if event.kind == Kind.STORE:
            assert event.old == memory.get(event.address, event.old)
        if event.kind in {Kind.LOAD, Kind.STORE}:
            memory[event.address] = event.value
        else:
            memory.clear()  # a call, a fill or the program may change any word
    stores = [event for event in kr.log if event.kind == Kind.STORE]
    assert any(event.struct and event.struct.__name__ == "Block" for event in stores)
    assert all(event.place and event.place.file.endswith(".py") for event in stores)


def test_calls_know_their_result_their_owner_and_their_line(recorded):
    call = recorded("boxtest", "kr").calls[0]
    assert (call.name, call.arguments, call.owner, call.is_over) == ("alloc", (4, 4), "Box<i32>", True)
    assert call.result and call.place and str(call.place) == "boxtest.py:8"
    usable = recorded(PROGRAM, "kr").calls[5]
    assert usable.name == "usable_size" and usable.result >= 40
    assert usable.place and usable.place.text == "usable c"


@TRIES
@given(data=st.data())
def test_a_stop_is_met_where_its_bytes_change_next_or_changed_last(kr, data):
    stores = [event for event in kr.log if event.kind == Kind.STORE]
    event = data.draw(st.sampled_from(stores))
    position = data.draw(st.integers(0, len(kr.log)))
    changes = [each for each in kr.log if each.kind in {Kind.STORE, Kind.FILL, Kind.COPY}]
    hits = [each.number + 1 for each in changes if set(range(*bytes_of(each))) & set(range(*bytes_of(event)))]
    for direction in (1, -1):
        stepper = at(kr, position)
        stepper.stops.append(Stop(event.address, event.size, "word"))
        met = stepper.run(direction)
        ahead = [hit for hit in hits if (hit - position) * direction > 0]
        nearest = min(ahead, key=lambda hit: abs(hit - position), default=None)
        assert stepper.position == (nearest if met else len(kr.log) if direction > 0 else 0)
        assert (met is None) == (nearest is None)


def test_a_stop_at_a_block_also_stops_at_loads(kr):
    stepper = Stepper(kr)
    first = next(event for event in kr.log if event.kind == Kind.LOAD and event.struct)
    stepper.stops.append(Stop(first.address, 8, "word", loads=True))
    assert stepper.run() is stepper.stops[0]
    assert stepper.position <= first.number + 1


def test_a_fault_is_the_last_event(recorded):
    recording = recorded("a = alloc 24; free a; free a", "kr")
    stepper = at(recording, len(recording.log))
    assert stepper.event.kind == Kind.FAULT
    assert "double free" in recording.notes[stepper.event.number]
    stepper.previous_call()
    assert stepper.call.name == "alloc"


def test_the_store_that_broke_an_invariant_is_found(tmp_path, recorded):
    buggy = tmp_path / "buggy.py"
    buggy.write_text(POWERS.read_text().replace("heap.lists[order] = block.next", "heap.lists[order] = block"))
    recording = record_script("a = alloc 24; free a; b = alloc 24; c = alloc 200", str(buggy))
    stepper = Stepper(recording)
    assert stepper.to_first_broken().startswith("I2  a list holds blocks of one size")
    assert stepper.call.number == 3
    assert stepper.event.kind in {Kind.STORE, Kind.RETURN}
    assert stepper.verdict() and not at(recording, stepper.position - 1).verdict()
    sound = Stepper(recorded(PROGRAM, "kr"))
    sound.go(7)
    assert (sound.to_first_broken(), sound.position) == ("", 7)


def test_a_full_recording_stops_before_the_program():
    recording = record_script(PROGRAM, "kr", max_bytes=4000)
    assert recording.outcome is None and recording.stopped
    assert 0 < len(recording.log) < 200
    assert at(recording, len(recording.log)).drawable()


def test_an_interrupted_recording_can_be_stepped_through():
    def main(_):
        alloc(24)
        raise KeyboardInterrupt

    recording = record(main, "tlsf", ("interrupted",))
    assert (recording.outcome, recording.stopped) == (None, "it was interrupted")
    assert at(recording, len(recording.log)).call is recording.calls[-1]


def test_a_program_without_calls_has_only_the_beginning(tmp_path):
    (tmp_path / "idle.py").write_text("def main(args): return 0\n")
    stepper = Stepper(record(find_program(str(tmp_path / "idle.py")), "kr", ("idle.py",)))
    stepper.next_call()
    assert (stepper.position, stepper.call, stepper.event) == (0, None, None)


def bytes_of(event):
    return event.address, event.address + event.size


def record_script(text, allocator, **options):
    return record(main_of(text), allocator, ("script",), **options)
