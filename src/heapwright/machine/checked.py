"""Loads and stores of aligned numbers of 1, 2, 4 or 8 bytes, and the checks of each.

The most common accesses, to words of pages that were used before, take the fast path at the top of `load` and `store`.
Smaller numbers there take the one in `_load` and `_store`, and all other accesses take the slow path.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from heapwright.machine.fault import Kind
from heapwright.machine.pages import Page, add_numbers
from heapwright.machine.shadow import REPEAT, SIZES, WRITTEN, codes_with
from heapwright.machine.state import ProcessState

MIN_WORD, MAX_WORD = -(1 << 63), (1 << 63) - 1
UNLIMITED = 1 << 62


class Checked:
    """The loads and stores of a view, with the rights of the owner of bytes marked `own`."""

    who: str
    _fault: Callable[..., NoReturn]
    _refuse: Callable[[str, int, int], NoReturn]

    def __init__(self, process: ProcessState, own: int):
        space = process.space
        self.process, self.own = process, own
        self.left = UNLIMITED  # accesses left until a fault reports an endless loop
        self._shift, self._mask = space.page.bit_length() - 1, space.page - 1
        self._storable = codes_with(own)
        self._loadable = codes_with(own | WRITTEN) if space.kernel.unwritten else self._storable
        self._loadable_numbers = numbers_full_of(self._loadable)
        self._storable_numbers = numbers_full_of(self._storable)
        self._usual = (own | WRITTEN) * REPEAT[8]
        self._loadable_words, self._storable_words = self._loadable_numbers[8], self._storable_numbers[8]
        self._atomic = False
        self._table: dict[int, Page] = space.pages
        process.when_watched.append(self.watch)

    def watch(self) -> None:
        """Use the fast path only while nobody observes each access."""
        process = self.process
        self._table = {} if process.access_observers or process.scheduler else process.space.pages

    # --- loads and stores

    def load(self, address: int, size: int) -> int:
        if size == 8 and not address & 7:
            page = self._table.get(address >> self._shift)
            if page is not None:
                numbers, codes = page[8]
                index = (address & self._mask) >> 3
                owners = codes[index]
                if (owners == self._usual or owners in self._loadable_words) and self.left > 0:
                    self.left -= 1
                    number: int = numbers[index]
                    return number
        return self._load(address, size)

    def store(self, address: int, size: int, value: int) -> None:
        if size == 8 and not address & 7:
            page = self._table.get(address >> self._shift)
            if page is not None and MIN_WORD <= value <= MAX_WORD:
                numbers, codes = page[8]
                index = (address & self._mask) >> 3
                owners = codes[index]
                if (owners == self._usual or owners in self._storable_words) and self.left > 0:
                    self.left -= 1
                    numbers[index] = value
                    codes[index] = self._usual
                    return
        self._store(address, size, value)

    def _load(self, address: int, size: int) -> int:
        page = self._table.get(address >> self._shift)
        if page is not None and size in page and not address % size and self.left > 0:
            numbers, codes = page[size]
            index = (address & self._mask) // size
            if codes[index] in self._loadable_numbers[size]:
                self.left -= 1
                number: int = numbers[index]
                return number
        return self._load_slowly(address, size)

    def _store(self, address: int, size: int, value: int) -> None:
        page = self._table.get(address >> self._shift)
        if page is not None and size in page and not address % size and self.left > 0:
            numbers, codes = page[size]
            index = (address & self._mask) // size
            if codes[index] in self._storable_numbers[size]:
                self.left -= 1
                self._fit(address, size, value)
                numbers[index] = value
                codes[index] = (self.own | WRITTEN) * REPEAT[size]
                return
        self._store_slowly(address, size, value)

    def _load_slowly(self, address: int, size: int) -> int:
        data, codes, at = self._place("load", address, size)
        if codes[at : at + size].lstrip(self._loadable):
            self._refuse("load", address, size)
        value = int.from_bytes(data[at : at + size], "little", signed=size == 8)
        self._tell("load", address, size, value)
        return value

    def _store_slowly(self, address: int, size: int, value: int) -> None:
        data, codes, at = self._place("store", address, size)
        if codes[at : at + size].lstrip(self._storable):
            self._refuse("store", address, size)
        self._fit(address, size, value)
        data[at : at + size] = int.to_bytes(value, size, "little", signed=size == 8)
        codes[at : at + size] = bytes([self.own | WRITTEN]) * size
        self._tell("store", address, size, value)

    def _place(self, operation: str, address: int, size: int) -> tuple[bytearray, bytearray, int]:
        """The page of an aligned access, and the offset in that page."""
        self._step(operation, address, size)
        if size not in SIZES:
            raise ValueError(f"an access has 1, 2, 4 or 8 bytes, not {size}")
        if not MIN_WORD <= address <= MAX_WORD:
            self._fault(Kind.NUMBER, f"the address {address:#x} needs more than 64 bits", 0, operation)
        if address & (size - 1):
            what = f"{self.who} {operation} of {size} bytes at {address:#x}, which is not a multiple of {size}"
            self._fault(Kind.MISALIGNED, what, address, f"{operation} of {size} bytes")
        page = self.process.space.reach(address >> self._shift)
        if page is None:
            self._refuse(operation, address, size)
        if size not in page:
            add_numbers(page, size)
        data, codes = page[1]
        return data, codes, address & self._mask

    def _fit(self, address: int, size: int, value: int) -> None:
        minimum, maximum = (MIN_WORD, MAX_WORD) if size == 8 else (0, (1 << 8 * size) - 1)
        if not minimum <= value <= maximum:
            bits = "64 bits and a sign" if size == 8 else f"{8 * size} bits"
            what = f"{self.who} store of {value} at {address:#x}: a number there has {bits}"
            self._fault(Kind.NUMBER, what, address, f"store of {size} bytes")

    # --- atomic cells

    def exchange(self, address: int, value: int) -> int:
        old = self.load(address, 8)
        self._write_through(address, value)
        return old

    def compare_exchange(self, address: int, expected: int, value: int) -> bool:
        equal = self.load(address, 8) == expected
        if equal:
            self._write_through(address, value)
        return equal

    def add(self, address: int, value: int) -> int:
        old = self.load(address, 8)
        total = (old + value + (1 << 63)) % (1 << 64) - (1 << 63)  # the hardware wraps
        self._write_through(address, total)
        return old

    def _write_through(self, address: int, value: int) -> None:
        """The second half of an atomic operation; no other thread runs between the two halves."""
        self._atomic = True
        try:
            self.store(address, 8, value)
        finally:
            self._atomic = False

    # --- the budget, the scheduler and the observers

    def _step(self, operation: str, address: int, size: int) -> None:
        self._charge(operation, address)
        if self.process.scheduler and not self._atomic:
            self.process.scheduler.step(operation, address, size)

    def _charge(self, operation: str, address: int) -> None:
        if self.left <= 0:
            what = f"this {operation} at {address:#x} is one too many: a loop that does not end?"
            self._fault(Kind.BUDGET, what, address, operation)
        self.left -= 1

    def _tell(self, operation: str, address: int, size: int, value: Any) -> None:
        for observer in self.process.access_observers:
            observer(operation, address, size, value, self.who)


@cache
def numbers_full_of(codes: bytes) -> dict[int, frozenset[int]]:
    """By size, the numbers that consist of one of these codes repeated."""
    return {size: frozenset(code * REPEAT[size] for code in codes) for size in SIZES}
