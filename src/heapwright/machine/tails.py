"""The bytes of a word from some address on, which need not be a multiple of anything."""

from __future__ import annotations

from collections.abc import Callable


class Tails:
    """A view's loads and stores of them. Compiled code loads and stores the whole word, but here the bytes before the
    address may be somebody else's, or never written."""

    load: Callable[[int, int], int]
    store: Callable[[int, int, int], None]

    def load_tail(self, address: int) -> int:
        if not address & 7:
            return self.load(address, 8)
        word = sum(self.load(place, 1) << 8 * (place & 7) for place in range(address, (address | 7) + 1))
        return word - (word >> 63 << 64)

    def store_tail(self, address: int, word: int) -> None:
        if not address & 7:
            self.store(address, 8, word)
            return
        for place in range(address, (address | 7) + 1):
            self.store(place, 1, word >> 8 * (place & 7) & 0xFF)
