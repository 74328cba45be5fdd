"""Parse text without a loop over lines: the tokens of a block of text, their words and numbers, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from heapwright.traces.arrays import I64, U8, U64, Mask, np

UNKNOWN_FIELDS = "lines with fields at their end that are not known, left out"
BLOCK_BYTES = 8 << 20
NEWLINE = ord("\n")
BAD = 255
MAX_DIGITS = 20


def blocks(text: bytes) -> Iterator[bytes]:
    """The text in blocks of complete lines."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + BLOCK_BYTES) + 1 or len(text)
        yield text[start:end]
        start = end


@cache
def digit_values() -> U8:
    """The value of each byte as a hexadecimal digit, or BAD."""
    table = np.full(256, BAD, np.uint8)
    for digits in b"0123456789abcdef", b"0123456789ABCDEF":
        table[np.frombuffer(digits, np.uint8)] = np.arange(16)
    return table


@dataclass
class Tokens:
    """The tokens of a text, which are separated by blanks, and the tokens of each line."""

    text: U8
    start: I64  # of each token
    end: I64
    first: I64  # for each line that has any, its first token
    count: I64  # the number of its tokens

    @classmethod
    def of(cls, text: bytes, blank: bytes = b" \t\r:") -> Tokens:
        """Split a text at blanks and line ends. Lines without tokens do not count."""
        is_blank = np.zeros(256, bool)
        is_blank[list(blank + b"\n")] = True
        data = np.frombuffer(text + b"\n", np.uint8)
        inside = np.concatenate(([False], ~is_blank[data]))
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        start, end = edges[::2], edges[1::2]
        line_ends = np.flatnonzero(data == NEWLINE)
        up_to = np.searchsorted(start, line_ends)
        first = np.concatenate(([0], up_to[:-1]))
        count = up_to - first
        return cls(data, start, end, first[count > 0], count[count > 0])

    def word(self, tokens: I64) -> U64:
        """The first eight bytes of some tokens, as numbers to compare with `key`."""
        value = np.zeros(len(tokens), np.uint64)
        for place in range(8):
            at = self.start[tokens] + place
            value |= np.where(at < self.end[tokens], self._byte(at), 0).astype(np.uint64) << np.uint64(8 * place)
        return value

    def length(self, tokens: I64) -> I64:
        """The lengths of some tokens, in bytes."""
        return self.end[tokens] - self.start[tokens]

    def number(self, tokens: I64) -> tuple[U64, Mask]:
        """The values of some tokens, decimal or hexadecimal after 0x, and a mask of those that are numbers."""
        start, end = self.start[tokens], self.end[tokens]
        is_hex = (self._byte(start) == ord("0")) & (self._byte(start + 1) == ord("x")) & (end - start > 2)
        start = start + 2 * is_hex
        base = np.where(is_hex, 16, 10).astype(np.uint64)
        value = np.zeros(len(tokens), np.uint64)
        good = (end > start) & (end - start <= np.where(is_hex, 16, MAX_DIGITS))
        for place in range(min(int((end - start).max(initial=0)), MAX_DIGITS)):
            at = start + place
            digit = np.where(at < end, digit_values()[self._byte(at)], 0)
            good &= digit < base
            value = np.where(at < end, value * base + digit, value)
        return value, good

    def _byte(self, at: I64) -> U8:
        return self.text[np.minimum(at, len(self.text) - 1)]


def key(word: str) -> int:
    """The value of `Tokens.word` for a word."""
    return int.from_bytes(word.encode()[:8], "little")
