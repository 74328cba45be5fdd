"""The shadow: who owns each byte of a process, and whether it was ever written.

Each byte of memory has one byte of shadow, a code made of these bits:

    ALLOCATOR  allocator code may touch it         USER     the user's program may touch it
    WRITTEN    a store reached it, or the kernel   FREED    it was a caller's byte, and nobody wrote it since
               documents it as zero

Live payload is USER alone. A block that was just freed is ALLOCATOR, and one that is being reallocated is both. 0 is
memory that no one may touch: beyond the break, text, unmapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import chain, repeat

ALLOCATOR, USER, WRITTEN, FREED = 1, 2, 4, 8
CODES = range(16)
SIZES = 1, 2, 4, 8  # of an access, in bytes
REPEAT = {size: int.from_bytes(bytes([1]) * size) for size in SIZES}  # a code times this: a number full of the code


def codes_with(wanted: int, unwanted: int = 0) -> bytes:
    """The codes that have all the wanted bits and none of the unwanted ones."""
    return bytes(code for code in CODES if code & wanted == wanted and not code & unwanted)


LIVE = codes_with(USER, ALLOCATOR)
NOT_LIVE = bytes(code for code in CODES if code not in LIVE)
NOT_THE_HEAPS = codes_with(0, ALLOCATOR)
TAKEABLE = codes_with(ALLOCATOR, USER)  # bytes that an allocator may hand out


def letter(code: int) -> str:
    """`.` no one's, `a` allocator's, `L` live and the user's, `f` freed payload."""
    if code & USER:
        return "L"
    if code & ALLOCATOR:
        return "f" if code & FREED else "a"
    return "."


def adding(bits: int) -> bytes:
    """A table for `bytes.translate` that sets bits in every code."""
    return bytes(code | bits for code in range(256))


@cache
def uniform_pages(page: int) -> list[bytes]:
    """For each code, a page full of it; all shadows share these objects."""
    return [bytes([code]) * page for code in CODES]


class Shadow:
    """The codes of a process's bytes, page by page; a page that is not here belongs to no one.

    Pages whose bytes all have one code share one `bytes` object, until somebody needs the codes of a page to change.
    """

    def __init__(self, page: int):
        self.page = page
        self.pages: dict[int, bytes | bytearray] = {}
        self._uniform = uniform_pages(page)

    def own_page(self, number: int) -> bytearray:
        """The codes of one page, which may be changed in place."""
        codes = self.pages.get(number, self._uniform[0])
        if not isinstance(codes, bytearray):
            codes = self.pages[number] = bytearray(codes)
        return codes

    def fill(self, address: int, size: int, code: int) -> None:
        pages, page, full = self.pages, self.page, self._uniform[code]
        for number, start, end in self.pieces(address, size):
            if end - start == page and pages.get(number).__class__ is not bytearray:
                pages[number] = full
            else:
                self.own_page(number)[start:end] = full[start:end]

    def read(self, address: int, size: int) -> bytes:
        zeros = self._uniform[0]
        return b"".join(self.pages.get(n, zeros)[start:end] for n, start, end in self.pieces(address, size))

    def write(self, address: int, codes: bytes) -> None:
        for number, start, end in self.pieces(address, len(codes)):
            at = number * self.page + start - address
            self.own_page(number)[start:end] = codes[at : at + end - start]

    def add_bits(self, address: int, size: int, bits: int) -> None:
        table = adding(bits)
        for number, start, end in self.pieces(address, size):
            codes = self.pages.get(number, self._uniform[0])
            if end - start == self.page and codes is self._uniform[codes[0]]:
                self.pages[number] = self._uniform[codes[0] | bits]
            else:
                own = self.own_page(number)
                own[start:end] = own[start:end].translate(table)

    def drop(self, first: int, count: int = 1) -> None:
        """Forget pages that are no longer mapped."""
        for number in range(first, first + count):
            self.pages.pop(number, None)

    def drop_from(self, number: int) -> None:
        self.pages = {n: codes for n, codes in self.pages.items() if n < number}

    def first_not(self, address: int, size: int, allowed: bytes) -> int | None:
        """The address of the first byte whose code is not allowed."""
        zeros = self._uniform[0]
        for number, start, end in self.pieces(address, size):
            codes = self.pages.get(number, zeros)
            if codes is self._uniform[codes[0]] and codes[0] in allowed:
                continue
            rest = codes[start:end].lstrip(allowed)
            if rest:
                return number * self.page + end - len(rest)
        return None

    def copy(self) -> Shadow:
        twin = Shadow(self.page)
        twin.pages = {n: bytearray(codes) if isinstance(codes, bytearray) else codes for n, codes in self.pages.items()}
        return twin

    def pieces(self, address: int, size: int) -> Iterable[tuple[int, int, int]]:
        """The pages of a range, each with its part that lies in the range."""
        page = self.page
        number, start = divmod(address, page)
        if start + size <= page:
            return ((number, start, start + size),) if size > 0 else ()
        last, end = divmod(address + size, page)
        whole = zip(range(number + 1, last), repeat(0), repeat(page))
        return chain(((number, start, page),), whole, ((last, 0, end),) if end else ())
