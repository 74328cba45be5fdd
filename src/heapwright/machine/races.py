"""Data races: unordered accesses of two threads to one place, at least one of them a store.

Source: C. Flanagan, S. Freund, FastTrack: Efficient and Precise Dynamic Race Detection (2009). Each thread has a
clock for every thread. An atomic cell passes the clocks of the threads that stored to it to those that load from it.
An access races with an earlier access of another thread that its own clock does not include. Two atomic accesses never
race. Here each access is kept with its bytes, because two halves of a word may have two owners.
"""

from __future__ import annotations

from collections import defaultdict

from heapwright.machine.accesses import Access
from heapwright.machine.frames import Stop

WORD = 8
Shape = tuple[int, int, int, bool, bool]  # thread, first byte, end, changes, is atomic


class Race(Stop):
    """Two conflicting accesses without an order."""

    def __init__(self, where: str, first: Access, second: Access, threads: tuple[str, ...]):
        self.where, self.first, self.second = where, first, second
        ordered = f"\n  {sentence(first, threads)}\n  {sentence(second, threads)}"
        super().__init__(f"data race on {where}: nothing orders{ordered}")


def sentence(access: Access, threads: tuple[str, ...]) -> str:
    kind = "atomic" if access.is_atomic else "plain"
    place = access.place
    return f"the {kind} {access.operation} by {threads[access.thread]} at {place} in {place.function}: {place.text}"


def words_of(address: int, size: int) -> range:
    """The words that a range touches, counted from address 0."""
    return range(address // WORD, -(-(address + size) // WORD))


class Clocks:
    """The vector clocks of the threads, and the last accesses to each word."""

    def __init__(self, threads: int):
        self._of = [[int(i == thread) for i in range(threads)] for thread in range(threads)]
        self._released: dict[int, list[int]] = {}  # address of an atomic cell -> the clock it carries
        self._seen: defaultdict[int, dict[Shape, tuple[int, Access]]] = defaultdict(dict)  # word -> last accesses
        self._copies: list[tuple[int, int]] = []  # (thread, its time) of each copy of all memory
        self.shared: set[int] = set()  # words that two threads touched, at least one with a store
        self.torn: set[int] = set()  # words that may have changed while all memory was copied

    def note(self, access: Access, changes: bool) -> Access | None:
        """Record an access; return an earlier one that it races with."""
        if access.is_atomic and access.reads:
            self._acquire(access.thread, access.address)
        found = None
        for word in words_of(access.address, access.size):
            found = self._note_word(word, access, changes) or found
        if access.is_atomic and changes:
            self._release(access.thread, access.address)
        return found

    def _note_word(self, word: int, access: Access, changes: bool) -> Access | None:
        seen, mine = self._seen[word], self._of[access.thread]
        start = max(access.address, word * WORD)
        end = min(access.address + access.size, (word + 1) * WORD)
        shape = (access.thread, start, end, changes, access.is_atomic)
        before = seen.get(shape)
        if before is not None and before[0] == mine[access.thread]:
            return None
        found = None
        for (thread, first, last, changed, was_atomic), (time, other) in seen.items():
            if thread != access.thread and (changes or changed) and start < last and first < end:
                self.shared.add(word)
                if time > mine[thread] and not (was_atomic and access.is_atomic):
                    found = other
        seen[shape] = mine[access.thread], access
        if changes and any(thread != access.thread and time > mine[thread] for thread, time in self._copies):
            self.torn.add(word)
        return found

    def copy_all(self, copier: int) -> None:
        """Record that a fork copies all memory, including words that other threads may be changing."""
        mine = self._of[copier]
        for word, seen in self._seen.items():
            if any(
                changed and time > mine[thread]
                for (thread, _, _, changed, _), (time, _) in seen.items()
                if thread != copier
            ):
                self.torn.add(word)
        self._copies.append((copier, mine[copier]))

    def _acquire(self, thread: int, address: int) -> None:
        carried = self._released.get(address)
        if carried is not None:
            self._of[thread] = [max(pair) for pair in zip(self._of[thread], carried, strict=True)]

    def _release(self, thread: int, address: int) -> None:
        self._released[address] = list(self._of[thread])
        self._of[thread][thread] += 1

    def forget(self, start: int, size: int) -> None:
        """Forget the accesses to a range that the kernel mapped or unmapped."""
        for word in [word for word in self._seen if start <= word * WORD < start + size]:
            del self._seen[word]
