"""Protocol Buffers' wire format, as far as two formats need it: numbers, texts and messages, without a schema.

A message is bytes. Its fields are appended one by one, each made by a function that gets the field's number.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterable

VARINT, BYTES = 0, 2
WORD = 1 << 64


def varint(number: int) -> bytes:
    """A number in groups of 7 bits; a negative one has 64 bits."""
    rest, groups = number % WORD, bytearray()
    while rest >= 0x80:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    groups.append(rest)
    return bytes(groups)


def number(field: int, value: int) -> bytes:
    """A field with a whole number. 0 is what an absent field means."""
    return always(field, value) if value else b""


def always(field: int, value: int) -> bytes:
    """A field with a whole number that is written for 0 too, where an absent field means something else."""
    return varint(field << 3 | VARINT) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """A field with a message."""
    return varint(field << 3 | BYTES) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """A field with a text, also if it is empty."""
    return message(field, value.encode(errors="replace"))


def packed(field: int, values: Iterable[int]) -> bytes:
    """A repeated field with whole numbers."""
    return message(field, b"".join(map(varint, values)))
