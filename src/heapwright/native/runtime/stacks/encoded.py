"""Numbers in memory, as ELF and DWARF encode them. Source: DWARF 5, section 7.6."""

from __future__ import annotations

from heapwright.layout import Byte, Struct, Word, Word16, Word32

SIGN_16, SIGN_32 = 1 << 15, 1 << 31


class AnyWord(Struct):
    value: Word


class AnyWord32(Struct):
    value: Word32


class AnyWord16(Struct):
    value: Word16


class AnyByte(Struct):
    value: Byte


def word_at(memory, address):
    """The signed number of 64 bits at an address."""
    return AnyWord(memory, address).value


def unsigned_at(memory, address):
    """The unsigned number of 32 bits at an address."""
    return AnyWord32(memory, address).value


def signed_at(memory, address):
    """The signed number of 32 bits at an address."""
    return (AnyWord32(memory, address).value ^ SIGN_32) - SIGN_32


def unsigned_16_at(memory, address):
    """The unsigned number of 16 bits at an address."""
    return AnyWord16(memory, address).value


def signed_16_at(memory, address):
    """The signed number of 16 bits at an address."""
    return (AnyWord16(memory, address).value ^ SIGN_16) - SIGN_16


def byte_at(memory, address):
    """The byte at an address."""
    return AnyByte(memory, address).value


def uleb_at(memory, address):
    """The unsigned LEB128 number at an address, cut to 56 bits, and the address after it."""
    number = 0
    shift = 0
    while byte_at(memory, address) >= 0x80:
        if shift <= 49:
            number |= (byte_at(memory, address) & 0x7F) << shift
        shift += 7
        address += 1
    if shift <= 49:
        number |= byte_at(memory, address) << shift
    return number, address + 1


def sleb_at(memory, address):
    """The signed LEB128 number at an address, cut to 56 bits, and the address after it."""
    number, after = uleb_at(memory, address)
    bits = min(7 * (after - address), 56)
    sign = 1 << (bits - 1)
    return (number ^ sign) - sign, after
