"""The assertions of `check` that concern a hardened heap. Interpreted only.

Invariants
    W18 exactly the live blocks in slabs end with a seal
    W19 the table of segments has each one in its list, once
"""

from __future__ import annotations

from heapwright.allocators.wright import known_segments, seals

W18 = "W18 exactly the live blocks in slabs end with a seal"
W19 = "W19 the table of segments has each one in its list, once"


def check_known(heap, segments):
    assert known_segments.beside(heap, segments) == [segment.address for segment in segments], W19


def check_seals(slab, blocks, unused):
    """Check the seals of a slab's blocks, of which some are not live."""
    live = [address for address in blocks if address not in unused]
    assert seals.sealed_among(slab.memory, blocks, slab.size) == live, W18
