"""The variant `wright[HARDENED=1]`: what differs from plain wright, and how its links are encoded.

                             plain                        hardened
    a block                  ends with the caller's       ends with a seal: its size and a secret (seals)
    a freed block            keeps its contents           is cleared, and checked before it is handed out again
    a small freed block      is handed out next           waits behind 64 others of its thread, or behind 8 if it is
                                                          larger than 1 KiB
    links                    addresses                    XOR a secret of the segment and their own place
    blocks of a new page     in address order             in a random order
    a freed address          is believed                  is looked up in a table of segments (known)
    memcpy, memset           are not looked at            report a block with less room (copies)
    a large block            may be the next one          waits until another one is freed (spares)
    a segment                63 tiles                     62 tiles, protected pages behind its records and its tiles

The constants below are folded when a variant is compiled, so plain wright tests for none of this at run time.

An encoded link that was overwritten decodes to a random number. One in 2^21 of these could be an address; the others
are reported when the link is followed.
"""

from __future__ import annotations

from heapwright import bits, chance
from heapwright.layout import Struct, Word

HARDENED = 0  # 0 or 1
IS_HARDENED = HARDENED == 1
DETECTS = ("double free", "foreign", "interior", "wrong size", "copy") if IS_HARDENED else ()
RACES = ("Record.carved: it only grows, and a block was carved before it could be freed",) if IS_HARDENED else ()
FEW, MANY = 8, 64  # freed blocks that wait, of more than 1 KiB and of less
WAITING = (FEW + MANY) * HARDENED
GUARD_TILES = 1 if IS_HARDENED else 0  # the last tiles of a segment, which are protected
SEAL = 8 if IS_HARDENED else 0  # bytes at the end of a block
SMALLEST = 24  # bytes of a block without its seal: a freed block has two links
SEGMENT = 1 << 20
LOG2_INVERSE = 40  # an offset in a slab, below 2**18, times an inverse is exact to the whole number
FACTOR = chance.SECOND_FACTOR  # of addresses, in links and in seals
KEY = 40  # where a segment has its secret
NEVER = ~((1 << 47) - 16)  # the bits that an address of a block does not have
NEVER_SECOND = NEVER & (1 << 48) - 1 | -1 << 55  # the same for a word with a number of blocks above the address


class Secret(Struct):
    word: Word


class Links(Struct):
    """A free block's words, as numbers."""

    next: Word
    second: Word


def key_of(memory, address):
    """The secret of the segment that an address lies in."""
    return Secret(memory, bits.align_down(address, SEGMENT) + KEY).word


def code_at(memory, place):
    """What a link at this place is encoded with."""
    return code_with(key_of(memory, place), place)


def code_with(key, place):
    """The same, in a segment with a key."""
    return key ^ bits.wrapping_mul(place, FACTOR)


def decoded(memory, key, place):
    """The first word of a free block, decoded. It may be no link."""
    return Links(memory, place).next ^ code_with(key, place)


def load_next(memory, place):
    """Decode the first word of a free block; report one that cannot be a link."""
    word = decoded(memory, key_of(memory, place), place)
    if word & NEVER != 0:
        memory.fault("written after it was freed", place)
    return word


def store_next(memory, place, address):
    Links(memory, place).next = address ^ code_at(memory, place)


def load_second(memory, place):
    """Decode the second word of a batch's block; report one that cannot be an address below a number."""
    word = Links(memory, place).second ^ code_at(memory, place)
    if word & NEVER_SECOND != 0:
        memory.fault("written after it was freed", place)
    return word


def store_second(memory, place, word):
    Links(memory, place).second = word ^ code_at(memory, place)


def clear_second(memory, place):
    Links(memory, place).second = 0
