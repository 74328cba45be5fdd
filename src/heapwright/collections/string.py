"""String: UTF-8 bytes that grow like a Vec<u8>. Lengths, capacities and indices are in bytes.

Source: library/alloc/src/string.rs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from heapwright.collections.errors import Panic
from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD, Growing
from heapwright.collections.owned import Handle, Owned
from heapwright.collections.raw import debug, read_bytes, write_bytes
from heapwright.collections.runtime import Holdings
from heapwright.collections.types import Type, hashed_text, u8


class Characters(Owned):
    """The common base of String and Box<str>: a text with an address and a length."""

    __slots__ = ()

    @property
    def address(self) -> int:
        """The address of the first byte."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def rust_type(self) -> Handle:
        return Handle(type(self), u8)

    @classmethod
    def element_of(cls, *types: Type) -> Type:
        return u8

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> str:
        return str(value)

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        return hashed_text(value)

    def __str__(self) -> str:
        return read_bytes(self.runtime.memory, self.address, len(self)).decode()

    def _debug(self) -> str:
        return debug(str(self))


class String(Growing, Characters):
    """Rust's String. `String("Hello")` is String::from: a block of 5@1. `String()` has none.

    push, push_str, insert_str   grow to max(2 * capacity, the bytes needed, 8)
    extend("text")               reserves once for a quarter of its bytes, rounded up, as `chars` promises; then pushes
    split_off(i)                 one request for exactly the bytes from i on
    clone()                      one request for exactly `len` bytes
    into_boxed_str()             shrink_to_fit, then a BoxedStr of the same block
    pop, remove, truncate, clear no request
    """

    __slots__ = ()

    def __init__(self, text: str = ""):
        super().__init__(u8)
        self.reserve_exact(len(text.encode()))
        self.push_str(text)

    @classmethod
    def with_capacity(cls, capacity: int) -> Self:
        """An empty String with room for exactly `capacity` bytes."""
        string = cls()
        string.reserve_exact(capacity)
        return string

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return "String"

    # --- adding

    def push_str(self, text: str) -> None:
        """Append a text."""
        self.insert_str(len(self), text)

    def push(self, character: str) -> None:
        """Append a character."""
        self.push_str(character)

    def insert_str(self, index: int, text: str) -> None:
        """Insert a text at a byte index, which must not be inside a character."""
        data, length = text.encode(), len(self)
        self._require_boundary(index)
        self.reserve(len(data))
        self._move(index, index + len(data))
        write_bytes(self.runtime.memory, self.address + index, data)
        self._store(LENGTH, length + len(data))

    def extend(self, texts: str | Iterable[str]) -> None:
        """Push the characters of a text, or several texts."""
        if isinstance(texts, str):
            self.reserve(-(-len(texts.encode()) // 4))
        for text in texts:
            self.push_str(text)

    # --- removing

    def pop(self) -> str | None:
        """Remove and return the last character; None if there is none."""
        text = str(self)
        if not text:
            return None
        self.truncate(len(self) - len(text[-1].encode()))
        return text[-1]

    def remove(self, index: int) -> str:
        """Remove and return the character that begins at an index."""
        self._require_boundary(index)
        text = str(self).encode()[index:].decode()
        if not text:
            raise Panic("cannot remove a char from the end of a string")
        width = len(text[0].encode())
        self._move(index + width, index)
        self._store(LENGTH, len(self) - width)
        return text[0]

    def truncate(self, length: int) -> None:
        """Keep only the first `length` bytes; the capacity stays."""
        if length < len(self):
            self._require_boundary(length)
            self._store(LENGTH, length)

    def clear(self) -> None:
        """Remove all text; the capacity stays."""
        self.truncate(0)

    def split_off(self, index: int) -> String:
        """Move the text from an index on to a new String."""
        self._require_boundary(index)
        other = String(str(self).encode()[index:].decode())
        self._store(LENGTH, index)
        return other

    # --- conversions

    def clone(self) -> Self:
        """Another String with the same text and no spare room."""
        return type(self)(str(self))

    def into_boxed_str(self) -> BoxedStr:
        """The text without spare room; the String is moved."""
        self.shrink_to_fit()
        boxed = BoxedStr._of_block(self.address, len(self))
        self._end("moved")
        return boxed

    def _require_boundary(self, index: int) -> None:
        if not 0 <= index <= len(self) or (index < len(self) and self._byte(index) & 0xC0 == 0x80):
            raise Panic(f"byte index {index} is not a char boundary of {debug(str(self))}")

    def _byte(self, index: int) -> int:
        return self.runtime.memory.load(self.address + index, 1)

    def _move(self, source: int, target: int) -> None:
        """Move all bytes from one index on to another index."""
        self.runtime.memory.copy(self.address + target, self.address + source, len(self) - source)


class BoxedStr(Characters):
    """Rust's Box<str>: a block of exactly its bytes. `BoxedStr("Hello")` is 5@1; its words are two.

    into_string() makes no request, and clone() one.
    """

    WORDS = 2
    __slots__ = ()

    def __init__(self, text: str):
        string = String(text)
        super().__init__(u8, string.address, len(string))
        string._end("moved")

    @classmethod
    def _of_block(cls, address: int, length: int) -> Self:
        boxed = cls.__new__(cls)
        Owned.__init__(boxed, u8, address, length)
        return boxed

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return "Box<str>"

    @property
    def address(self) -> int:
        return self._load(0)

    def __len__(self) -> int:
        return self._load(1)

    def into_string(self) -> String:
        """A String of the same block; the Box<str> is moved."""
        string = String()
        for word, value in ((POINTER_WORD, self.address), (LENGTH, len(self)), (CAPACITY, len(self))):
            string._store(word, value)
        self._end("moved")
        return string

    def clone(self) -> Self:
        """Another Box<str> with the same text."""
        return type(self)(str(self))

    def holdings(self) -> Holdings:
        if len(self):
            yield self.address, iter(())

    def _release(self) -> None:
        if len(self):
            self.runtime.dealloc(self.address)
