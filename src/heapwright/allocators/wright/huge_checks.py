"""The assertions of `check` that concern huge ranges. Interpreted only."""

from __future__ import annotations

from heapwright.allocators.parts import chains
from heapwright.allocators.wright import records, slots

W10 = "W10 huge ranges lie at multiples of 1 MiB, each with a record; kept ones are ordered, apart, and add up"
W11 = "W11 live huge blocks sum up to the count, at most the peak"


def check_huge(heap):
    store, kept = heap.huge, list(chains.chain_of(heap.huge.first))
    ranges = [each for i in range(slots.BUCKETS) for each in chained(store.buckets[i])]
    assert all(each.start % records.SEGMENT == 0 and each.size > 0 for each in ranges), W10
    apart = all(low.start + low.size < high.start for high, low in zip(kept, kept[1:], strict=False))
    assert apart and len(kept) == store.ranges and sum(each.size for each in kept) == store.kept, W10
    assert sorted(each.start for each in ranges if each.is_kept) == sorted(each.start for each in kept), W10
    assert len(list(chained(store.unused))) + len(ranges) == store.records, W10
    live = [each.size for each in ranges if not each.is_kept]
    assert len(live) == store.blocks and sum(live) == store.live <= store.peak, W11


def chained(found):
    while found:
        yield found
        found = found.chain
