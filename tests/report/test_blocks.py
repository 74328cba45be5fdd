"""What each event changes, however the events are cut into chunks: compared with a dictionary of the live blocks."""

import numpy as np
from event_stories import stories
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright.report.blocks import LiveBlocks
from heapwright.traces.events import ALLOC, DEALLOC, INHERITED, NONE, REALLOC, Events

NAMES = ("requests", "held", "holds", "size", "site", "old_size", "old_site", "born", "owner", "growths")


def by_dictionary(events):
    """The same, slowly: for each event the values of NAMES, the requests since its block's, and what is live."""
    live, asked = {}, {}
    for number in range(len(events)):
        op, block, size, thread, site, time, flags = (
            int(getattr(events, name)[number]) for name in ("op", "block", "size", "thread", "site", "time", "flags")
        )
        failed = events.failed[number]
        gets = op <= REALLOC and not failed
        asked[thread] = asked.get(thread, 0) + gets
        row = dict.fromkeys(NAMES, 0) | {"requests": gets and not flags & INHERITED, "others": None}
        if block != NONE and not failed:
            old = live.pop(block, None)
            if old:
                row |= {"held": 1, "old_size": old["size"], "old_site": old["site"]}
            new = {"size": size, "site": site, "born": time, "owner": thread, "growths": 0, "asked": asked[thread]}
            new |= {name: old[name] for name in ("born", "owner", "growths", "asked")} if old else {}
            new["growths"] += bool(old) and op != DEALLOC and size > old["size"]
            if op != DEALLOC:
                live[block] = new
            elif new["owner"] == thread:
                row["others"] = asked[thread] - new["asked"]
            row |= {name: new[name] for name in ("size", "site", "born", "owner", "growths")} | {"holds": op != DEALLOC}
        yield row | {"live_bytes": sum(each["size"] for each in live.values()), "live_blocks": len(live)}


@settings(max_examples=40)
@given(stories(), st.lists(st.integers(0, 40), max_size=4))
def test_changes_are_those_of_a_dictionary(events, cuts):
    blocks, edges = LiveBlocks(), sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    expected = list(by_dictionary(events))
    for first, last in zip(edges, edges[1:], strict=False):
        part = events[first:last]
        changes = blocks.advance(part, part.time, part.site)
        for name in (*NAMES, "live_bytes", "live_blocks"):
            assert getattr(changes, name).tolist() == [row[name] for row in expected[first:last]], name
        for row, dies, others in zip(expected[first:last], changes.dies, changes.others.tolist(), strict=True):
            if dies:
                assert others == (np.iinfo(np.int64).max if row["others"] is None else row["others"])


def test_the_table_has_a_row_for_each_live_block():
    blocks = LiveBlocks()
    for first in range(0, 1000, 10):
        numbers = [*range(first, first + 10), *range(first, first + 9)]
        events = Events.of(op=[ALLOC] * 10 + [DEALLOC] * 9, thread=[0] * 19, block=numbers, size=[8] * 10 + [0] * 9)
        blocks.advance(events, events.time, events.site)
    assert blocks.rows["block"].tolist() == list(range(9, 1000, 10))
    assert blocks.rows.itemsize <= 48
