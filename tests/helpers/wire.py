"""Read Protocol Buffers without a schema: each field's number, and its values as numbers or bytes."""

from __future__ import annotations

from collections import defaultdict


def varint(data, at):
    number, shift = 0, 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def fields(data):
    """The values of each field, in their order."""
    found, at = defaultdict(list), 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            length, at = varint(data, at)
            assert at + length <= len(data), "a message is cut off"
            value, at = data[at : at + length], at + length
        found[key >> 3].append(value)
    return found


def numbers(data):
    """The numbers of a packed field."""
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(value)
    return found
