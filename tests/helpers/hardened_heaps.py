"""What the tests of `wright[HARDENED=1]` share."""

from __future__ import annotations

from heapwright import allocator
from heapwright.machine import Fault, start

SPEC = "wright[HARDENED=1]"
DESIGN = allocator.load(SPEC)
WRIGHT = DESIGN.parts[-1]
MIB = 1 << 20


def fresh(**options):
    return start(DESIGN, **{"frames": 4000, **options})


def reported(action, *arguments, **options):
    """What a call reported; "" if nothing."""
    try:
        action(*arguments, **options)
    except Fault as fault:
        return fault.what.partition(":")[0]
    return ""


def free(heap, address):
    heap.dealloc(address, unchecked=True)


def expect_room(heap, address, size):
    heap.allocator.expect_room(heap.state, address, size)
