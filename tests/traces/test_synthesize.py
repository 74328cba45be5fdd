"""Workloads made up: valid, deterministic, and as large as they were meant to be."""

import pytest

from heapwright.traces.events import TraceError, check, summarize
from heapwright.traces.synthesize import (
    SERVER,
    WORKLOADS,
    Distribution,
    growing_vectors,
    pairs,
    random_live_set,
    read_distribution,
    steady_state,
    synthesize,
)


@pytest.mark.parametrize("name", WORKLOADS)
def test_workloads_are_valid_and_the_same_again(name):
    trace = synthesize(name, seed=3)
    check(trace.events)
    assert len(trace.events) > 100
    assert synthesize(name, seed=3) == trace


def test_another_seed_is_another_trace():
    assert synthesize("demo", 1).events != synthesize("demo", 2).events


def test_an_unknown_workload_is_named_with_those_there_are():
    with pytest.raises(TraceError, match="'x'; there are demo, pairs, random, vectors"):
        synthesize("x")


def test_pairs_have_one_block_at_a_time():
    summary = summarize(pairs(size=48, count=10))
    assert (summary.allocs, summary.peak_live_blocks, summary.peak_live_bytes) == (10, 1, 48)


def test_a_random_live_set_keeps_its_number_of_blocks():
    events = random_live_set(live=50, rounds=500, smallest=10, largest=20)
    summary = summarize(events)
    assert summary.peak_live_blocks == summary.live_blocks_at_end == 50
    assert summary.deallocs == 500
    sizes = events.size[events.asks]
    assert 10 <= sizes.min() <= sizes.max() <= 20


def test_vectors_double_and_are_freed():
    summary = summarize(growing_vectors(vectors=2, elements=16, element=8, rounds=3))
    assert (summary.allocs, summary.reallocs, summary.deallocs) == (6, 12, 6)
    assert summary.peak_live_bytes == 2 * 16 * 8


def test_a_steady_state_holds_the_bytes_it_was_asked_for():
    events = steady_state(Distribution.of(SERVER), 30_000, 2 << 20, seed=5)
    check(events)
    assert 0.8 * (2 << 20) < summarize(events).live_bytes_at_end < 1.25 * (2 << 20)


def test_a_distribution_is_read_from_a_table(tmp_path):
    (tmp_path / "d.csv").write_text("size, alloc_rate, num_live\n8, 1.5, 20\n16, 0, 3.25\n")
    distribution = read_distribution(tmp_path / "d.csv")
    assert distribution.size.tolist() == [8, 16]
    assert distribution.live.tolist() == [20, 3.25]
    check(steady_state(distribution, 100, 1000))


@pytest.mark.parametrize("table", ["", "8, 1\n", "8, 1, x\n", "8, 1, nan\n", "8, 0, 3\n", "8, 1, 2, 3\n"])
def test_what_is_no_table_is_refused(tmp_path, table):
    (tmp_path / "d.csv").write_text(table)
    with pytest.raises(TraceError, match="is no table of size, alloc_rate, num_live"):
        read_distribution(tmp_path / "d.csv")
