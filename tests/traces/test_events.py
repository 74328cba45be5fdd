"""The figures of events, the flat form, and the check, against a model that goes event by event."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.traces.events import (
    ALLOC,
    DEALLOC,
    FAILED,
    NONE,
    REALLOC,
    Events,
    Summary,
    TraceError,
    check,
    no_events,
    starts,
    summarize,
)
from heapwright.traces.flat import NO_SLOT, FlatEvent, Flattener, flatten


class Model:
    """What is live after each event, in a dictionary."""

    def __init__(self, events):
        self.sizes, self.owner, self.aligns = {}, {}, {}
        self.peak = self.peak_blocks = self.blocks_at_peak = self.crossings = self.total = 0
        self.freed = []
        for row in zip(*(column.tolist() for column in events.columns()), strict=True):
            self.step(row)

    def step(self, row):
        op, flags, log2_align, thread, block, size, *_ = row
        if block == NONE or flags & FAILED:
            return
        if op == DEALLOC:
            self.crossings += self.owner[block] != thread
            self.freed.append((self.sizes.pop(block), self.aligns[block]))
        else:
            self.owner.setdefault(block, thread)
            self.aligns.setdefault(block, log2_align)
            self.sizes[block] = size
            self.total += size
        if (now := sum(self.sizes.values())) > self.peak:
            self.peak, self.blocks_at_peak = now, len(self.sizes)
        self.peak_blocks = max(self.peak_blocks, len(self.sizes))


@given(st.from_type(Events))
def test_summary_is_what_the_model_says(events):
    check(events)
    model, summary = Model(events), summarize(events)
    assert summary.events == len(events)
    assert summary.peak_live_bytes == model.peak
    assert summary.peak_live_blocks == model.peak_blocks
    if model.peak:
        assert summary.live_blocks_at_peak == model.blocks_at_peak
    assert summary.cross_thread_deallocs == model.crossings
    assert summary.total_bytes == model.total
    assert summary.live_bytes_at_end == sum(model.sizes.values())
    assert summary.live_blocks_at_end == len(model.sizes)
    assert summary.failed == events.failed.sum()


def test_counts_by_hand():
    events = Events.of(op=[1, 2, 4, 1, 3, 4, 4, 5], thread=[0, 0, 1, 0, 0, 0, 0, 1], block=[0, 1, 0, 2, 1, -1, 2, -1],
                       size=[5, 6, 0, 7, 9, 0, 0, 0])  # fmt: skip
    assert summarize(events) == Summary(
        events=8, allocs=2, zeroed_allocs=1, reallocs=1, deallocs=3, null_deallocs=1, thread_exits=1, threads=2,
        cross_thread_deallocs=1, blocks=3, total_bytes=27, peak_live_bytes=16, live_blocks_at_peak=2,
        peak_live_blocks=2, live_bytes_at_end=9, live_blocks_at_end=1,
    )  # fmt: skip


def test_no_events_have_figures_of_zero():
    assert summarize(no_events()) == Summary()


def test_processes_add_up_but_their_peaks_do_not():
    one = Summary(events=3, peak_live_bytes=10, live_blocks_at_peak=7, peak_live_blocks=7)
    two = Summary(events=4, peak_live_bytes=20, live_blocks_at_peak=1, peak_live_blocks=2)
    both = Summary(events=7, peak_live_bytes=20, live_blocks_at_peak=1, peak_live_blocks=2)
    assert one + two == two + one == both


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(TraceError, match="E1"):
        Events.of(op=[ALLOC], thread=[0, 0], block=[0], size=[1])


@pytest.mark.parametrize(
    ("op", "block", "broken"),
    [
        ([ALLOC, ALLOC], [0, 2], "E2"),
        ([ALLOC, ALLOC], [1, 0], "E2"),
        ([ALLOC, DEALLOC, DEALLOC], [0, 0, 0], "E3"),
        ([ALLOC, DEALLOC, REALLOC], [0, 0, 0], "E3"),
        ([ALLOC, ALLOC], [0, -1], "E4"),
    ],
)
def test_check_names_the_broken_invariant(op, block, broken):
    events = Events.of(op=op, thread=[0] * len(op), block=block, size=[1] * len(op))
    with pytest.raises(AssertionError, match=broken):
        check(events)


def test_time_never_decreases():
    check(Events.of(op=[ALLOC, ALLOC], thread=[0, 1], block=[0, 1], size=[1, 1], time=[5, 5]))
    with pytest.raises(AssertionError, match="E6"):
        check(Events.of(op=[ALLOC, ALLOC], thread=[0, 1], block=[0, 1], size=[1, 1], time=[5, 4]))


@given(st.from_type(Events), st.booleans())
def test_flat_events_keep_each_block_in_one_slot_that_is_its_own(events, recycle):
    flat = flatten(events, recycle)
    kept = events[~events.failed]
    held = {}
    for record, block, begins in zip(flat.records, kept.block.tolist(), starts(kept), strict=True):
        slot = int(record["slot"].astype("i8"))
        if block == NONE:
            assert slot == NO_SLOT
            continue
        assert slot < flat.slots
        assert held.get(slot) == (None if begins else block)
        held[slot] = None if record["op"] == DEALLOC else block
    summary = summarize(events)
    assert flat.slots == (summary.peak_live_blocks if recycle else summary.blocks)


@given(st.from_type(Events))
def test_flat_deallocs_know_their_blocks_size_and_alignment(events):
    records = flatten(events).records
    frees = records[(records["op"] == DEALLOC) & (records["slot"].astype("i8") >= 0)]
    assert list(zip(frees["size"].tolist(), frees["log2_align"].tolist(), strict=True)) == Model(events).freed


@given(st.from_type(Events), st.lists(st.integers(0, 9), min_size=1, max_size=30), st.booleans())
def test_chunks_of_any_size_give_the_same_flat_events(events, sizes, recycle):
    flat, flattener = flatten(events, recycle), Flattener(recycle)
    parts, first = [], 0
    for size in [*sizes, len(events)]:
        parts.append(flattener.take(events[first : first + size]))
        first += size
    assert b"".join(records.tobytes() for records, _ in parts) == bytes(flat)
    assert np.array_equal(np.concatenate([live for _, live in parts]), flat.live)
    assert (flattener.slots, flattener.threads) == (flat.slots, flat.threads)


def test_a_chunk_that_names_a_dead_block_is_refused():
    flattener = Flattener()
    flattener.take(Events.of(op=[ALLOC, DEALLOC], thread=[0, 0], block=[0, 0], size=[1, 0]))
    with pytest.raises(TraceError, match="E3"):
        flattener.take(Events.of(op=[DEALLOC], thread=[0], block=[0], size=[0]))


def test_flat_events_are_24_bytes_and_the_same_in_a_file(tmp_path):
    flat = flatten(Events.of(op=[ALLOC, DEALLOC], thread=[0, 1], block=[0, 0], size=[7, 0]))
    assert FlatEvent.SIZE == 24
    flat.write(tmp_path / "flat")
    assert (tmp_path / "flat").read_bytes() == bytes(flat)
    assert bytes(flat)[24:] == bytes([4, 0, 1, 0, 0, 0, 0, 0]) + bytes(8) + (7).to_bytes(8, "little")


def test_too_many_threads_to_number_are_refused():
    events = Events.of(op=[ALLOC], thread=[1 << 16], block=[0], size=[1])
    with pytest.raises(TraceError, match="65537 threads"):
        flatten(events)


@given(st.from_type(Events), st.integers(0, 50))
def test_extents_join_to_the_whole(events, cut):
    assert Events.join([events[:cut], events[cut:]]) == events
    before = int(starts(events[:cut]).sum())
    assert np.array_equal(np.append(starts(events[:cut]), starts(events[cut:], before)), starts(events))


def test_importing_the_package_does_not_import_numpy():
    modules = ["cut", "exporters", "flat", "importers", "merge", "synthesize"]
    program = "import sys\n" + "".join(f"import heapwright.traces.{each}\n" for each in modules)
    subprocess.run([sys.executable, "-c", program + "assert 'numpy' not in sys.modules"], check=True)
