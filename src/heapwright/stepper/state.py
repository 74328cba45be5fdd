"""The state of a machine at one moment, and the changes from one moment to the next, which can be undone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from heapwright.layout import Struct
from heapwright.machine.blocks import Block


class Owned(NamedTuple):
    """A live block, and the type of the value that owns it."""

    block: Block
    owner: str


class Bounds(NamedTuple):
    """Where the heap lies, and the thread that runs."""

    brk: int = 0
    extents: tuple[tuple[int, int], ...] = ()
    held: int = 0  # bytes from the kernel
    thread: int = 0
    words: tuple[int, ...] = ()  # the thread's own


@dataclass(slots=True)
class Change:
    """The difference between two moments. Pages are the compressed exclusive or of their contents."""

    pages: dict[int, bytes] = field(default_factory=dict)
    structs: list[tuple[int, type[Struct] | None, type[Struct] | None]] = field(default_factory=list)
    live: list[tuple[int, Owned | None, Owned | None]] = field(default_factory=list)
    bounds: tuple[Bounds, Bounds] | None = None

    def __bool__(self) -> bool:
        return bool(self.pages or self.structs or self.live or self.bounds)

    @property
    def size(self) -> int:
        """The bytes that its pages take."""
        return sum(map(len, self.pages.values()))


class State:
    """Memory, known structs, live blocks and bounds at one moment. A page that is not here is full of zeros."""

    def __init__(self, page: int):
        self.page = page
        self.pages: dict[int, bytearray] = {}
        self.structs: dict[int, type[Struct]] = {}
        self.live: dict[int, Owned] = {}
        self.bounds = Bounds()
        self.zeros = bytes(page)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def values(self) -> tuple[object, ...]:
        written = {number: bytes(page) for number, page in self.pages.items() if page != self.zeros}
        return written, self.structs, self.live, self.bounds

    # --- memory

    def peek(self, address: int, size: int) -> bytes:
        parts, end = [], address + size
        while address < end:
            number, at = divmod(address, self.page)
            part = self.pages.get(number, self.zeros)[at : min(self.page, at + end - address)]
            parts.append(bytes(part))
            address += len(part)
        return b"".join(parts)

    def own_page(self, number: int) -> bytearray:
        page = self.pages.get(number)
        if page is None:
            page = self.pages[number] = bytearray(self.page)
        return page

    def store(self, address: int, size: int, value: int) -> None:
        """Store an aligned number, which lies in one page."""
        number, at = divmod(address, self.page)
        self.own_page(number)[at : at + size] = value.to_bytes(size, "little", signed=size == 8)

    def flip(self, number: int, compressed: bytes) -> None:
        """Turn a page into what it was on the other side of a change."""
        self.pages[number] = bytearray(either(self.pages.get(number, self.zeros), zlib.decompress(compressed)))

    # --- changes

    def redo(self, change: Change) -> None:
        self._flip_all(change)
        for base, _, struct in change.structs:
            put(self.structs, base, struct)
        for address, _, owned in change.live:
            put(self.live, address, owned)
        if change.bounds:
            self.bounds = change.bounds[1]

    def undo(self, change: Change) -> None:
        self._flip_all(change)
        for base, struct, _ in reversed(change.structs):
            put(self.structs, base, struct)
        for address, owned, _ in reversed(change.live):
            put(self.live, address, owned)
        if change.bounds:
            self.bounds = change.bounds[0]

    def _flip_all(self, change: Change) -> None:
        for number, compressed in change.pages.items():
            self.flip(number, compressed)


def put(places: dict[int, Any], key: int, value: Any) -> None:
    """Set a key, or remove it if there is no value."""
    if value is None:
        places.pop(key, None)
    else:
        places[key] = value


def difference(old: bytes | bytearray, new: bytes | bytearray) -> bytes:
    """What leads from one content of a page to another and back."""
    return zlib.compress(either(old, new), 1)


def either(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")
