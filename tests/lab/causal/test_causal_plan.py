"""Replays on threads, in every order that a plan admits: nothing gets stuck, and live memory keeps to the curve."""

from random import Random

import numpy as np
import pytest
from causal_machine import Machine, interpreted_passes
from event_stories import stories
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright.lab.causal.edges import Lives, handovers, prove
from heapwright.lab.causal.plan import plan
from heapwright.native.jobs.causal_job import JOIN, START, WAIT
from heapwright.traces.events import ALLOC, DEALLOC, NONE, REALLOC, THREAD_EXIT, Events, TraceError, live, no_events


@st.composite
def lives_of_threads(draw):
    """Events of threads that come and go, pass blocks on, and free those of others."""
    random = Random(draw(st.integers(0, 1 << 32)))
    alive, begun, blocks, held, rows = [0], 1, 0, [], []
    for _ in range(draw(st.integers(0, 60))):
        if random.random() < 0.1:
            alive.append(begun)
            begun += 1
        thread = random.choice(alive)
        kind = random.random()
        if kind < 0.05 and len(alive) > 1:
            rows.append((THREAD_EXIT, thread, NONE, 0))
            alive.remove(thread)
        elif kind < 0.5 or not held:
            rows.append((ALLOC, thread, blocks, random.choice([8, 100, 5000])))
            held.append(blocks)
            blocks += 1
        elif kind < 0.6:
            rows.append((REALLOC, thread, random.choice(held), random.choice([8, 300, 9000])))
        else:
            rows.append((DEALLOC, thread, held.pop(random.randrange(len(held))), 0))
    op, thread, block, size = zip(*rows, strict=True) if rows else ([], [], [], [])
    numbers = {number: place for place, number in enumerate(dict.fromkeys(thread))}
    return Events.of(op=op, thread=[numbers[each] for each in thread], block=block, size=size)


ANY = (stories() | lives_of_threads()).filter(lambda events: not events.failed.all())


# --- any schedule


@pytest.mark.long
@given(ANY, st.sampled_from([1, 10, 100]), st.randoms(use_true_random=False))
def test_no_schedule_gets_stuck_or_exceeds_the_curve(events, part, random):
    made = plan(events, part=part)
    machine = Machine(made)
    machine.run(random.choice)
    ceilings = made.sections["ceiling"].tolist()
    for bytes_live, passed in machine.highest:
        ceiling = ceilings[min(passed, len(ceilings) - 1)]
        assert bytes_live - ceiling <= ceiling // part
    assert machine.most_living <= made.order.alive
    assert machine.live == live(events)[0][-1]


@settings(max_examples=30)
@given(ANY)
def test_a_greedy_schedule_of_each_thread(events):
    """The thread that is farthest ahead always goes first."""
    Machine(plan(events)).run(max)
    Machine(plan(events)).run(min)


@settings(max_examples=30)
@given(ANY)
def test_a_ceiling_is_a_height_of_the_recorded_curve(events):
    made = plan(events)
    kept = events[~events.failed]
    curve = np.concatenate(([0], live(kept)[0]))
    assert set(made.sections["ceiling"].tolist()) <= set(curve.tolist())
    assert max(made.sections["ceiling"].tolist()) == curve.max()


def test_threads_run_freely_where_memory_allows():
    """Each of four threads allocates and frees, beside a large block."""
    rows = [(ALLOC, 0, 0, 1 << 20)]
    number = 1
    for i in range(4000):
        rows += [(ALLOC, 1 + i % 4, number, 100), (DEALLOC, 1 + i % 4, number, 0)]
        number += 1
    op, thread, block, size = zip(*rows, strict=True)
    order = plan(Events.of(op=op, thread=thread, block=block, size=size)).order
    assert (order.handovers, order.waits) == (0, 0)
    assert order.alone == 1, "at the peak"
    assert order.chain == 1 + 3 * 2 + 2000, "each thread but the first is started after a pair of another one"
    assert order.held_chain < 2200


def test_nobody_runs_ahead_where_each_byte_counts():
    """One thread frees half of everything before another allocates as much."""
    events = Events.of(
        op=[ALLOC, ALLOC, DEALLOC, ALLOC], thread=[0, 1, 0, 1], block=[0, 1, 0, 2], size=[1000, 1000, 0, 1000]
    )
    made = plan(events)
    machine = Machine(made)
    machine.run(max)
    assert max(bytes_live for bytes_live, _ in machine.highest) == 2000
    assert made.order.alone == 1


def test_a_process_without_events_is_refused():
    with pytest.raises(TraceError, match="no events"):
        plan(no_events())


@settings(max_examples=10)  # interpreted, the passes take their time
@given(ANY)
def test_the_compiled_passes_find_what_the_interpreted_ones_find(events):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heapwright.lab.causal.plan.compiled_passes", interpreted_passes)
        interpreted = plan(events)
    compiled = plan(events)
    assert compiled.order == interpreted.order
    for table in ("threads", "sections", "stops", "records"):
        assert np.array_equal(getattr(compiled, table), getattr(interpreted, table))


# --- handovers


def test_a_block_that_changes_hands_is_waited_for():
    events = Events.of(
        op=[ALLOC, ALLOC, REALLOC, DEALLOC, DEALLOC], thread=[0, 1, 1, 0, 1], block=[0, 1, 0, 0, 1],
        size=[100, 100, 100, 0, 0],
    )  # fmt: skip
    assert handovers(events).tolist() == [NONE, NONE, 0, 2, NONE]
    assert plan(events).order.handovers == 2


def test_an_address_that_is_used_again_is_no_edge():
    events = Events.of(op=[ALLOC, DEALLOC, ALLOC, DEALLOC], thread=[0, 0, 1, 1], block=[0, 0, 1, 1], size=[9, 0, 9, 0])
    made = plan(events)
    assert made.order.handovers == 0
    assert WAIT not in made.stops["kind"]


def test_a_later_wait_implies_the_earlier_ones():
    """The last of a hundred blocks is freed first."""
    blocks = list(range(100))
    events = Events.of(
        op=[ALLOC] * 101 + [DEALLOC] * 100 + [ALLOC], thread=[0] * 100 + [1] * 101 + [0],
        block=[*blocks, 100, *blocks[::-1], 101], size=[1] * 101 + [0] * 100 + [1000],
    )  # fmt: skip
    order = plan(events, part=1).order
    assert (order.handovers, order.waits) == (100, 1)


# --- starts and ends


def test_a_thread_that_ended_is_joined_before_the_next_one_starts():
    rows = [(ALLOC, 0)] + [(op, thread) for thread in range(1, 200) for op in (ALLOC, THREAD_EXIT)]
    blocks = iter(range(200))
    events = Events.of(
        op=[op for op, _ in rows], thread=[thread for _, thread in rows],
        block=[next(blocks) if op == ALLOC else NONE for op, _ in rows], size=[10 * (op == ALLOC) for op, _ in rows],
    )  # fmt: skip
    made = plan(events)
    assert made.order.alive == 2
    kinds = made.stops["kind"].tolist()
    assert (kinds.count(START), kinds.count(JOIN)) == (199, 198)
    machine = Machine(made)
    machine.run(max)
    assert machine.most_living == 2


def test_the_lives_of_threads():
    events = Events.of(
        op=[ALLOC, ALLOC, THREAD_EXIT, ALLOC, THREAD_EXIT, ALLOC], thread=[0, 5, 5, 2, 2, 0],
        block=[0, 1, NONE, 2, NONE, 3], size=[1, 1, 0, 1, 0, 1],
    )  # fmt: skip
    lives = Lives.of(events)
    assert lives.thread.tolist() == [0, 5, 2]
    assert (lives.first.tolist(), lives.last.tolist()) == ([0, 1, 3], [5, 2, 4])
    assert lives.joined_by().tolist() == [NONE, 2, NONE]
    assert lives.starters(np.array([0, 1, 1, 2, 2, 0])).tolist() == [NONE, 0, 0]


# --- the proof


def test_waits_that_go_back_in_the_recording_are_proved():
    prove(np.array([0, 1, 0]), np.array([[2, 1], [1, 0]]))
    prove(np.array([0, 1, 0]), np.zeros((0, 2), np.int64))


def test_a_wait_for_a_later_event_is_no_circle_by_itself():
    prove(np.array([0, 1, 1]), np.array([[0, 1]]))


def test_a_circle_is_named():
    thread = np.array([0, 1, 0, 1])
    with pytest.raises(TraceError, match="circle|waits for") as caught:
        prove(thread, np.array([[0, 3], [1, 2]]))
    for event in range(4):
        assert f"event {event} of thread {event % 2}" in str(caught.value)
