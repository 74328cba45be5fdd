"""Start and stop the recording of the program that this is part of."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from heapwright.errors import UserError

REFUSED = -1


@contextmanager
def recording() -> Iterator[None]:
    """Record the calls that the program makes inside the block, in all its threads and processes.

    The program must run under `heapwright record --control`, which begins with a pause. Inside a block in which calls
    are recorded already, this changes nothing. Raises UserError if nothing can be recorded.

        with heapwright.recording():
            load_table()
    """
    has_started = order("start")
    try:
        yield
    finally:
        if has_started:
            order("stop", must_obey=False)


def order(name: str, must_obey: bool = True) -> bool:
    """Give the recorder an order. Returns whether that changed anything."""
    function = getattr(ctypes.CDLL(None), f"heapwright_recording_{name}", None)
    answer = function() if function else REFUSED
    if answer == REFUSED and must_obey:
        raise UserError(f"nothing can be recorded: {obstacle(bool(function))}")
    return bool(answer == 1)


def obstacle(is_recorded: bool) -> str:
    """Why the recorder does not obey, and what to do."""
    how = "run the program under `heapwright record --control FILE -o TRACE -- ...`"
    if is_recorded:
        return f"the recording has ended, or takes no orders: {how}"
    return f"the program runs without the recorder: {how}"
