"""The kind of a live block, from its first words: a Python object, a C++ object, text, pointers, zeros.

Only verifiable facts are used. A Python object's type is an object whose own type is `type`. A C++ object's first word
points after a type's name in read-only data (Itanium C++ ABI, "Virtual Table Layout"). Both are looked up once for each
distinct word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from heapwright.live.cxx import class_of_table
from heapwright.live.extent import Extent, Numbers
from heapwright.live.mappings import MappingMap
from heapwright.live.memory import Image
from heapwright.live.python.objects import Types

UNKNOWN, ZEROS, POINTERS, TEXT, TREE, NOT_THERE = range(6)
PLAIN = ("unknown", "zeros", "pointers", "text", "tree nodes (std::map, std::set)", "not resident")
MAX_WORDS = 3000  # distinct words that are looked up, the most common first
TYPE_AT = (40, 24, 8)  # where an object's type may be: behind two pairs of words, one (the collector's), or none
MIN_TEXT, MAX_TEXT = 4, 16


class Kinds:
    """Names for blocks: `of` gives a number for each block, and `names` the name of each number."""

    def __init__(self, image: Image):
        self.image = image
        self.names: list[str] = list(PLAIN)
        self._numbers: dict[str, int] = {name: number for number, name in enumerate(PLAIN)}
        self._types = Types(image)
        self._starts, self._ends = bounds(image.source.mappings)
        self._known: dict[tuple[str, int], int] = {}

    def number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def of(self, copy: Extent, addresses: Numbers, sizes: Numbers) -> Numbers:
        """The kind of each block of an extent; `sizes` are usable bytes."""
        words = first_words(copy, addresses, sizes)
        kinds = self._plain(words, sizes)
        self._lookup(kinds, words[:, 0], sizes >= 8, "C++ ", self._class_name)
        for at in TYPE_AT:
            self._lookup(kinds, words[:, at // 8], sizes >= at + 8, "Python ", self._type_name)
        kinds[~there(copy, addresses)] = NOT_THERE
        return kinds

    def _plain(self, words: Any, sizes: Numbers) -> Numbers:
        kinds = np.full(len(words), UNKNOWN, np.int64)
        kinds[are_text(words[:, :2])] = TEXT
        pointing = self.are_addresses(words[:, :4])
        kinds[pointing[:, 0] & (pointing[:, 1] | (words[:, 1] == 0) | (sizes < 16))] = POINTERS
        kinds[
            (words[:, 0] <= 1)
            & pointing[:, 1]
            & (sizes >= 32)
            & either(words, pointing, 2)
            & either(words, pointing, 3)
        ] = TREE
        kinds[(words[:, :4] == 0).all(axis=1)] = ZEROS
        return kinds

    def are_addresses(self, words: Any) -> Any:
        """Whether words lie in any mapping."""
        if not len(self._starts):
            return np.zeros(words.shape, bool)
        index = np.searchsorted(self._starts, words, side="right") - 1
        return (index >= 0) & (words < self._ends[np.maximum(index, 0)])

    def _lookup(self, kinds: Numbers, words: Any, wanted: Any, prefix: str, name_of: Callable[[int], str]) -> None:
        """Name the blocks whose word is the address of a class or a type."""
        chosen = np.flatnonzero(wanted & self.are_addresses(words))
        distinct, inverse, counts = np.unique(words[chosen], return_inverse=True, return_counts=True)
        numbers = np.full(len(distinct), -1, np.int64)
        for index in np.argsort(-counts)[:MAX_WORDS].tolist():
            numbers[index] = self._looked_up(int(distinct[index]), prefix, name_of)
        found = numbers[inverse] if len(distinct) else np.zeros(0, np.int64)
        kinds[chosen[found >= 0]] = found[found >= 0]

    def _looked_up(self, word: int, prefix: str, name_of: Callable[[int], str]) -> int:
        if (prefix, word) not in self._known:
            name = name_of(word)
            self._known[prefix, word] = self.number(prefix + name) if name else -1
        return self._known[prefix, word]

    def _class_name(self, word: int) -> str:
        return class_of_table(self.image, word)

    def _type_name(self, word: int) -> str:
        return self._types.name_of(word)


def bounds(mappings: MappingMap) -> tuple[Any, Any]:
    """The starts and ends of the readable mappings, as unsigned words."""
    readable = [mapping for mapping in mappings if mapping.is_readable]
    starts = np.array([mapping.start for mapping in readable], np.uint64)
    return starts, np.array([mapping.end for mapping in readable], np.uint64)


def first_words(copy: Extent, addresses: Numbers, sizes: Numbers) -> Any:
    """The first six words of each block; those beyond its end are zero."""
    offsets = (addresses[:, None] - copy.start) // 8 + np.arange(6)
    words = copy.words[np.minimum(offsets, len(copy.words) - 1)]
    words[(np.arange(6) * 8)[None, :] + 8 > sizes[:, None]] = 0
    return words


def there(copy: Extent, addresses: Numbers) -> Any:
    return copy.got[(addresses - copy.start) // 4096]


def either(words: Any, pointing: Any, column: int) -> Any:
    """Whether a column is null or an address."""
    return pointing[:, column] | (words[:, column] == 0)


def are_text(words: Any) -> Any:
    """Whether two words are printable characters, up to their end or up to a zero byte."""
    letters = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), MAX_TEXT)
    printable = ((letters >= 32) & (letters < 127)) | (letters == 9) | (letters == 10) | (letters >= 0xC2)
    length = np.where(printable.all(axis=1), MAX_TEXT, np.argmin(printable, axis=1))
    after = letters[np.arange(len(letters)), np.minimum(length, MAX_TEXT - 1)]
    return (length == MAX_TEXT) | ((length >= MIN_TEXT) & (after == 0))
