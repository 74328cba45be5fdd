"""Who reports the parts of a heap, while its process waits.

* A heap of ours: the worker walks it with compiled code. The view finds the heap and gives its extents.
* The C library's malloc: its arenas are copied and walked from outside, as `heapwright inspect` does.
* An installed peer: its own records and counters, read from outside.
"""

from __future__ import annotations

from typing import Any, Protocol

from heapwright.lab.contestant import Contestant
from heapwright.lab.curves.glibc_view import GlibcView
from heapwright.lab.curves.own_view import OwnView, stack_in
from heapwright.lab.curves.parts import Told
from heapwright.lab.curves.peer_view import PeerView
from heapwright.live.memory import Image
from heapwright.live.process import Process


class View(Protocol):
    """One way to learn the parts of a heap.

    `begin` looks before the first event, and `look` at each sample in turn, while the process waits. `told` gives what
    is known of a sample once the worker has ended, or None.
    """

    source: str  # in words

    def begin(self, process: Process, job: Any) -> None: ...

    def look(self, process: Process, job: Any) -> None: ...

    def told(self, number: int, sample: Any) -> Told | None: ...


class NoView:
    """A malloc that cannot be read."""

    source = "pages alone: this malloc cannot be read"

    def begin(self, process: Process, job: Any) -> None:
        """There is nothing to find."""

    look = begin

    def told(self, number: int, sample: Any) -> Told | None:
        return None


def stack_of(contestant: Contestant) -> str:
    """The stack that a contestant's library was compiled from; "" if it is not one of ours, or has no source here."""
    return stack_in(contestant.library) if contestant.library else ""


def view_for(contestant: Contestant, stack: str, process: Process) -> View:
    """The view of a contestant whose process waits before its first event."""
    if stack:
        return OwnView()
    if contestant.library is None:
        return GlibcView()
    return PeerView.found(Image(process)) or NoView()
