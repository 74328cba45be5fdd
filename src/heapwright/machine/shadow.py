"""Who owns each byte of a process, and whether it was ever written.

One byte of shadow for each byte of memory, made of these bits:

    ALLOCATOR  allocator code may touch it         USER     the user's program may touch it
    WRITTEN    a store reached it, or the kernel   FREED    it was a caller's byte, and nobody wrote it since
               documents it as zero

A live payload is USER alone. A block that its owner just gave back is ALLOCATOR, and one that is being
reallocated is both. 0 is memory that no one may touch: beyond the break, text, not mapped.
"""

from __future__ import annotations

from collections.abc import Iterator

ALLOCATOR, USER, WRITTEN, FREED = 1, 2, 4, 8
CODES = range(16)
REPEAT = 0x0101010101010101  # a code times this is a word of it


def codes_with(wanted: int, unwanted: int = 0) -> bytes:
    """The codes that have all the wanted bits and none of the unwanted ones."""
    return bytes(code for code in CODES if code & wanted == wanted and not code & unwanted)


LIVE = codes_with(USER, ALLOCATOR)
NOT_LIVE = bytes(code for code in CODES if code not in LIVE)
TAKEABLE = codes_with(ALLOCATOR, USER)  # what an allocator may hand out


def letter(code: int) -> str:
    """`.` no one's, `a` allocator's, `L` live and the user's, `f` freed payload."""
    if code & USER:
        return "L"
    if code & ALLOCATOR:
        return "f" if code & FREED else "a"
    return "."


def adding(bits: int) -> bytes:
    """A translation that sets bits in every code."""
    return bytes(code | bits for code in range(256))


class Shadow:
    """The codes of a process's bytes, one page at a time; a page that is not here is no one's.

    A page whose bytes all have one code, and that nobody looked at closely, shares one `bytes` object.
    """

    def __init__(self, page: int):
        self.page = page
        self.pages: dict[int, bytes | bytearray] = {}
        self._uniform = [bytes([code]) * page for code in CODES]

    def own_page(self, number: int) -> bytearray:
        """The codes of one page, to be changed in place."""
        codes = self.pages.get(number, self._uniform[0])
        if not isinstance(codes, bytearray):
            codes = self.pages[number] = bytearray(codes)
        return codes

    def fill(self, address: int, size: int, code: int) -> None:
        for number, start, end in self.pieces(address, size):
            if end - start == self.page and not isinstance(self.pages.get(number), bytearray):
                self.pages[number] = self._uniform[code]
            else:
                self.own_page(number)[start:end] = self._uniform[code][start:end]

    def read(self, address: int, size: int) -> bytes:
        zeros = self._uniform[0]
        return b"".join(self.pages.get(n, zeros)[start:end] for n, start, end in self.pieces(address, size))

    def write(self, address: int, codes: bytes) -> None:
        for number, start, end in self.pieces(address, len(codes)):
            at = number * self.page + start - address
            self.own_page(number)[start:end] = codes[at : at + end - start]

    def add_bits(self, address: int, size: int, bits: int) -> None:
        self.write(address, self.read(address, size).translate(adding(bits)))

    def drop(self, number: int) -> None:
        """Forget a page that is no longer mapped."""
        self.pages.pop(number, None)

    def drop_from(self, number: int) -> None:
        self.pages = {n: codes for n, codes in self.pages.items() if n < number}

    def first_not(self, address: int, size: int, allowed: bytes) -> int | None:
        """The address of the first byte whose code is not an allowed one."""
        zeros = self._uniform[0]
        for number, start, end in self.pieces(address, size):
            rest = self.pages.get(number, zeros)[start:end].lstrip(allowed)
            if rest:
                return number * self.page + end - len(rest)
        return None

    def copy(self) -> Shadow:
        twin = Shadow(self.page)
        twin.pages = {n: bytearray(codes) if isinstance(codes, bytearray) else codes for n, codes in self.pages.items()}
        return twin

    def pieces(self, address: int, size: int) -> Iterator[tuple[int, int, int]]:
        """The pages of a range, each with the part of it that lies inside."""
        end = address + size
        while address < end:
            number, start = divmod(address, self.page)
            stop = min(self.page, start + end - address)
            yield number, start, stop
            address += stop - start
