"""Which words are CPython types, and their names.

Source: CPython Include/object.h and Include/cpython/object.h. An object's second word is its type; in a free-threaded
build it is the fourth. A type's type is `type`, or a metaclass that leads to it; the name follows the head that every
variable-sized object has.
"""

from __future__ import annotations

from heapwright.live.errors import Unreadable
from heapwright.live.memory import Image

TYPE_AT, NAME_AT = 8, 24
DEEPEST = 4  # metaclasses of metaclasses


class Types:
    """Looks up types in one process; each word once."""

    def __init__(self, image: Image):
        self.image = image
        self._names: dict[int, str] = {}

    def name_of(self, word: int) -> str:
        """The name of the type at an address; "" if there is none."""
        if word not in self._names:
            try:
                self._names[word] = self._read(word)
            except Unreadable:
                self._names[word] = ""
        return self._names[word]

    def _read(self, word: int) -> str:
        if word <= 0 or word % 8 or not self._leads_to_type(word):
            return ""
        return self._name_at(word)

    def _name_at(self, word: int) -> str:
        name = self.image.text_at(self.image.word(word + NAME_AT))
        parts = name.split(".")
        return name if name and all(part.replace("-", "_").isidentifier() for part in parts) else ""

    def _leads_to_type(self, word: int) -> bool:
        """Whether the chain of types ends at one that is its own type and is named `type`."""
        for _ in range(DEEPEST):
            above = self.image.word(word + TYPE_AT)
            if above == word:
                return self._name_at(word) == "type"
            if above == 0 or above % 8:
                return False
            word = above
        return False
