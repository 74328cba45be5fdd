"""Physical memory: frames of one page each, on a last-in, first-out free list.

As in xv6 kernel/kalloc.c, frames lie from 0x80000000 up, and the highest is taken first. A taken frame is filled with
0x05, a freed one with 0x01. Unlike xv6's, a frame knows its owner, and a budget bounds their number. Frames can be
reserved for pages that nobody has touched yet, and any request can be made to fail.

Several pages may share a frame, also those of a forked child and its parent. Each page counts as one user of it, and
the frame is free when the last user left it.
"""

from __future__ import annotations

KERNBASE = 0x80000000
PAGE_SIZES = (4096, 16384, 65536)
TAKEN, FREED = 5, 1  # the bytes with which kalloc and kfree fill a frame


class Stop(Exception):  # noqa: N818  not an error of Python's: the machine raises it
    """The machine stops the running program."""


class KernelPanic(Stop):
    """The simulated kernel stopped; xv6 would print `panic:` and this text."""


class Failures:
    """Which requests to refuse: the k-th from now, counted from 1, and all that follow unless `once`."""

    def __init__(self) -> None:
        self.left = 0  # requests until the failing one; 0 when none is planned
        self.once = False
        self.failing = False

    def at(self, k: int, once: bool = False) -> None:
        self.left, self.once, self.failing = k, once, False

    def never(self) -> None:
        self.at(0)

    def due(self, requests: int = 1) -> bool:
        """Count requests; return whether one of them must fail."""
        if self.left == 0:
            return self.failing
        self.left -= min(requests, self.left)
        if self.left > 0:
            return False
        self.failing = not self.once
        return True


class Frames:
    """All frames of one machine. A frame is known by its physical address; 0 means that none was available."""

    def __init__(self, budget: int, page: int):
        if page not in PAGE_SIZES:
            raise ValueError(f"a page is {', '.join(map(str, PAGE_SIZES))} bytes, not {page}")
        self.budget, self.page = budget, page
        self.failures = Failures()
        self.reserved = 0  # frames promised to pages that nobody has touched yet
        self.peak = 0  # the largest number of frames taken at once
        self.owners: dict[int, int] = {}  # taken frame -> process id
        self.users: dict[int, tuple[int, ...]] = {}  # shared frame -> the process id of each page that leads to it
        self._untouched = budget  # the frames below this index have never been taken
        self._free: list[int] = []
        self._bytes: dict[int, bytearray] = {}
        self._poison = bytes([TAKEN]) * page, bytes([FREED]) * page
        self._zeros = bytes(page)

    @property
    def taken(self) -> int:
        return len(self.owners)

    @property
    def available(self) -> int:
        """Frames that are neither taken nor promised."""
        return self.budget - self.taken - self.reserved

    def take(self, owner: int) -> int:
        """Take a frame full of 0x05; return 0 if there is none."""
        if self.failures.due() or self.available <= 0:
            return 0
        return self._pop(owner)

    def take_reserved(self, owner: int) -> int:
        """Take a frame that `reserve` promised; never fails."""
        self.reserved -= 1
        return self._pop(owner)

    def reserve(self, count: int) -> bool:
        """Promise `count` frames, all or none; each counts as one request."""
        if self.failures.due(count) or self.available < count:
            return False
        self.reserved += count
        return True

    def unreserve(self, count: int) -> None:
        self.reserved -= count

    def give(self, frame: int) -> None:
        if frame not in self.owners:
            raise KernelPanic("kfree")
        del self.owners[frame]
        self._bytes[frame][:] = self._poison[1]
        self._free.append(frame)

    def share(self, frame: int) -> None:
        """Let further pages use a frame, which its owner has mapped once."""
        self.users[frame] = (self.owners[frame],)

    def use(self, frame: int, owner: int) -> None:
        """Count one more page of a process that leads to a shared frame."""
        self.users[frame] += (owner,)

    def leave(self, frame: int, owner: int) -> None:
        """Give back a frame that a page of a process led to, unless other pages still do."""
        users = list(self.users.pop(frame, (owner,)))
        users.remove(owner)
        if users:
            self.users[frame], self.owners[frame] = tuple(users), users[0]
        else:
            self.give(frame)

    def zero(self, frame: int) -> None:
        self._bytes[frame][:] = self._zeros

    def bytes_of(self, frame: int) -> bytearray:
        """The frame's contents, in place."""
        return self._bytes[frame]

    def owned_by(self, owner: int) -> set[int]:
        shared = {frame for frame, users in self.users.items() if owner in users}
        return {frame for frame, its_owner in self.owners.items() if its_owner == owner} | shared

    def _pop(self, owner: int) -> int:
        if self._free:
            frame = self._free.pop()
        else:
            self._untouched -= 1
            frame = KERNBASE + self._untouched * self.page
            self._bytes[frame] = bytearray(self.page)
        self._bytes[frame][:] = self._poison[0]
        self.owners[frame] = owner
        self.peak = max(self.peak, self.taken)
        return frame
