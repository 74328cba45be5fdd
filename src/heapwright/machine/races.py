"""Data races: two accesses of one place by two threads, a store among them, that nothing puts into an order.

Source: C. Flanagan, S. Freund, FastTrack: Efficient and Precise Dynamic Race Detection (2009). Each thread has a
clock for every thread; an atomic cell carries the clock of those who stored to it to those who load from it. An
access races with an earlier one of another thread that its own clock does not know of. Two atomic accesses never
race. Here an access keeps its bytes, for two halves of a word may have two owners.
"""

from __future__ import annotations

from collections import defaultdict

from heapwright.machine.accesses import Access

WORD = 8
Shape = tuple[int, int, int, bool, bool]  # thread, first byte, end, changes, is atomic


class Race(Exception):
    """Two accesses that nothing orders."""

    def __init__(self, where: str, first: Access, second: Access, threads: tuple[str, ...]):
        self.where, self.first, self.second = where, first, second
        ordered = f"\n  {sentence(first, threads)}\n  {sentence(second, threads)}"
        super().__init__(f"data race on {where}: nothing orders{ordered}")


def sentence(access: Access, threads: tuple[str, ...]) -> str:
    kind = "atomic" if access.is_atomic else "plain"
    place = access.place
    return f"the {kind} {access.operation} by {threads[access.thread]} at {place} in {place.function}: {place.text}"


def words_of(address: int, size: int) -> range:
    """The words, counted from address 0, that a range touches."""
    return range(address // WORD, -(-(address + size) // WORD))


class Clocks:
    """Who knows what of whom, and the last accesses to each word."""

    def __init__(self, threads: int):
        self._of = [[int(i == thread) for i in range(threads)] for thread in range(threads)]
        self._released: dict[int, list[int]] = {}  # address of an atomic cell -> the clock it carries
        self._seen: defaultdict[int, dict[Shape, tuple[int, Access]]] = defaultdict(dict)  # word -> last accesses
        self._copies: list[tuple[int, int]] = []  # (thread, its time) of each copy of all memory
        self.shared: set[int] = set()  # words that two threads touched, a store among it
        self.torn: set[int] = set()  # words that changed while all memory was copied, for all that is known

    def note(self, access: Access, changes: bool) -> Access | None:
        """Take an access in; return an earlier one that it races with."""
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
        """A fork copies what others may just be changing, of which no lock is the owner or the forking thread's."""
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
        """A range that the kernel gave or took has no past."""
        for word in [word for word in self._seen if start <= word * WORD < start + size]:
            del self._seen[word]
