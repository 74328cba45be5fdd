"""Events as rows, for tests to compare."""

from __future__ import annotations


def rows(events):
    """Operation, block and size of each event."""
    return list(zip(events.op.tolist(), events.block.tolist(), events.size.tolist(), strict=True))
