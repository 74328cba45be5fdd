"""The log of addresses: where each malloc puts the blocks of a trace."""

import os
import signal

import numpy as np
import pytest

from heapwright.lab.addresses import addresses_of, followed, windows
from heapwright.lab.contestant import Contestant
from heapwright.lab.flat_file import functions_of
from heapwright.lab.naming import contestant
from heapwright.lab.sample import RunError
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, THREAD_EXIT, Events
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import demo

SYSTEM = Contestant("system", None)


def live_ranges(flat, addresses):
    """The live blocks after each event, by slot: their addresses and sizes. Yields them with the event's number."""
    live = {}
    for number, (record, address) in enumerate(zip(flat.records.tolist(), addresses.tolist(), strict=True)):
        op, slot, size = record[0], record[4], record[5]
        if op == DEALLOC:
            assert live.pop(slot, (0,))[0] == address
        elif op <= REALLOC:
            live[slot] = (address, size)
        yield number, live


@pytest.mark.parametrize("name", ["system", "kr"])
def test_blocks_have_addresses_and_do_not_overlap(name):
    flat = flatten(demo())
    addresses = addresses_of(flat, contestant(name))
    for number, live in live_ranges(flat, addresses):
        if number % 5000 == 0:
            ranges = sorted(live.values())
            assert all(a + max(size, 1) <= b for (a, size), (b, _) in zip(ranges, ranges[1:], strict=False))
    assert (addresses[flat.records["op"] <= REALLOC] > 0).all()


def test_what_has_no_block_has_no_address():
    events = Events.of(
        op=[ALLOC, DEALLOC, REALLOC, ALLOC_ZEROED, THREAD_EXIT, DEALLOC, DEALLOC],
        thread=[0] * 7, block=[0, -1, 0, 1, -1, 0, 1], size=[24, 0, 48, 24, 0, 0, 0],
    )  # fmt: skip
    first, null, moved, zeroed, leaves, *freed = addresses_of(flatten(events), SYSTEM).tolist()
    assert null == leaves == 0
    assert freed == [moved, zeroed]
    assert first % 16 == moved % 16 == 0


def test_small_windows_change_nothing():
    flat, malloc = flatten(demo()), contestant("kr")
    with followed(malloc, flat.slots, functions_of(flat.records), 100) as follower:
        parts = [follower.do(each) for each in windows(flat.records, 100)]
    whole, joined = addresses_of(flat, malloc), np.concatenate(parts)
    assert np.array_equal(whole - whole.max(), joined - joined.max())


def test_it_stands_still_between_windows_and_its_end_is_said():
    flat = flatten(demo())
    with followed(SYSTEM, flat.slots, functions_of(flat.records), 100) as follower:
        follower.do(flat.records[:100])
        assert f"/proc/{follower.pid}" and os.readlink(f"/proc/{follower.pid}/exe").endswith("true")
        os.kill(follower.pid, signal.SIGKILL)
        with pytest.raises(RunError, match="after 100 events: ended by SIGKILL"):
            follower.do(flat.records[100:200])


def test_a_malloc_that_is_not_the_claimed_one_is_refused(tmp_path):
    (tmp_path / "libnone.so").write_bytes(b"")
    with pytest.raises(RunError, match="gets malloc from .*, not from .*libnone"):
        addresses_of(flatten(demo()), Contestant("none", tmp_path / "libnone.so"))
