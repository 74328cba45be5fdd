"""Workloads made up: valid, deterministic, and as large as they were meant to be."""

import pytest

from heapwright.traces.events import DEALLOC, REALLOC, TraceError, check, summarize
from heapwright.traces.synthesize import (
    SERVER,
    WORKLOADS,
    Distribution,
    growing_vectors,
    holes,
    ladder,
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
    with pytest.raises(TraceError, match="'x'; there are demo, pairs, random, vectors, holes, ladder, or"):
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


def test_no_hole_serves_the_next_size_where_blocks_lie_in_the_order_of_their_births():
    events = holes(limit=1 << 12, smallest=16, largest=256)
    live, top = {}, 0  # ends of blocks by their starts
    starts = []
    for op, block, size in zip(events.op, events.block.tolist(), events.size.tolist(), strict=True):
        if op == DEALLOC:
            del live[starts[block]]
        else:
            assert all(below - end < size for end, below in zip(live.values(), [*live][1:], strict=False))
            starts.append(top)
            live[top] = top + size
            top += size
    assert top == (1 << 12) * (4 // 2 + 1)  # Robson's factor, of log2(256 / 16)
    assert summarize(events).peak_live_bytes == 1 << 12


def test_vectors_climb_a_ladder_of_blocks_that_stay():
    events = ladder(vectors=2, smallest=64, largest=1024, rung=48)
    summary = summarize(events)
    assert (summary.allocs, summary.reallocs, summary.deallocs) == (2 + 2 * 5, 2 * 4, 2)
    assert events.size[events.op == REALLOC].tolist() == [128, 256, 512, 1024] * 2
    assert summary.live_bytes_at_end == 2 * 5 * 48


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


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", "is no table of size, alloc_rate, num_live: no size has an alloc_rate above 0"),
        ("size, alloc_rate, num_live\n", "no size has an alloc_rate above 0"),
        ("8, 0, 3\n", "no size has an alloc_rate above 0"),
        ("8, 1\n", "d.csv:1: has 2 columns, not 3: size, alloc_rate, num_live"),
        ("8, 1, 2, 3\n", "d.csv:1: has 4 columns"),
        ("size, alloc_rate, num_live\n\n8, 1, x\n", "d.csv:3: column 3, num_live: 'x' is not a number"),
        ("8, 1, 1\nsize, 1, 1\n", "d.csv:2: column 1, size: 'size' is not a number"),
        ("8, 1, 1\n 9, -1, 1\n", "d.csv:2: column 2, alloc_rate: '-1' is not a number from 0 to 1e.18"),
        ("-8, 1, 1\n", "d.csv:1: column 1, size: '-8'"),
        ("nan, 1, 1\n", "d.csv:1: column 1, size: 'nan'"),
        ("8, 1, nan\n", "d.csv:1: column 3, num_live: 'nan'"),
        ("8, inf, 1\n", "d.csv:1: column 2, alloc_rate: 'inf'"),
        ("1e300, 1, 1\n", "d.csv:1: column 1, size: '1e300'"),
        ("8,,1\n", "d.csv:1: column 2, alloc_rate: ''"),
        (f"8, {'9' * 400}, 1\n", "d.csv:1: column 2, alloc_rate: '9{40}' is not"),
        ("8; 1; 2\n9; 1; 2\n", "d.csv:2: has 1 column,"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line_and_column(tmp_path, table, complaint):
    (tmp_path / "d.csv").write_text(table)
    with pytest.raises(TraceError, match=complaint):
        read_distribution(tmp_path / "d.csv")


def test_a_table_as_other_programs_write_it(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbfsize,alloc_rate,num_live\r\n\r\n8,1.5,2e1\r\n")
    assert read_distribution(tmp_path / "d.csv").live.tolist() == [20]
