"""Errors of `inspect`."""

from __future__ import annotations

from heapwright.errors import UserError


class InspectError(UserError):
    """Memory that cannot be inspected. The text is one line that says why and what to do."""


class Unreadable(Exception):
    """Bytes that cannot be read: not mapped, swapped out, or left out of a core file."""

    def __init__(self, address: int, why: str):
        super().__init__(f"{address:#x} cannot be read: {why}")
        self.address = address
