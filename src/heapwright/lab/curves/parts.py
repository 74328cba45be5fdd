"""The parts of the memory that a heap holds, at one moment.

held = requested + internal + cached + free_pages + free_rest + own + unknown. The sum is checked at each sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PARTS = ("requested", "internal", "cached", "free_pages", "free_rest", "own", "unknown")


class IdentityError(Exception):
    """Parts that do not add up to what the heap holds. The text names both sums."""


@dataclass(frozen=True)
class Holes:
    """The free spans of a heap: their bytes, the largest one, and how much of them could serve requests of some sizes.

    `squares` is the sum of the squared sizes.
    """

    free: int
    largest: int
    squares: int
    suitable: tuple[int, ...]

    @property
    def largest_hole(self) -> float | None:
        """The share of free memory outside the largest hole: RMM's arena resource."""
        return 1 - self.largest / self.free if self.free else None

    @property
    def root_sum_square(self) -> float | None:
        """1 - sqrt(sum of squares) / sum: 0 for one hole, towards 1 for many small ones. From pigweed."""
        return 1 - self.squares**0.5 / self.free if self.free else None

    def unusable(self) -> tuple[float | None, ...]:
        """The share of free memory that requests of each size cannot use: Gorman's index in Linux's mm/vmstat.c."""
        return tuple(1 - each / self.free if self.free else None for each in self.suitable)


@dataclass(frozen=True)
class Told:
    """What is known of a heap besides the caller's blocks. Bytes; None if the malloc does not report them.

    `used` are live blocks with their headers, where a walk finds them.
    """

    held: int
    cached: int | None
    free_pages: int | None
    free_rest: int | None
    own: int | None
    used: int | None = None
    holes: Holes | None = None


@dataclass(frozen=True)
class Parts:
    """All parts of what a heap holds, in bytes; None for what its malloc does not report."""

    held: int | None = None
    requested: int = 0
    internal: int | None = None
    cached: int | None = None
    free_pages: int | None = None
    free_rest: int | None = None
    own: int | None = None
    unknown: int | None = None

    @classmethod
    def of(cls, requested: int, granted: int | None, told: Told | None) -> Parts:
        """Join what the worker counted with what the malloc reports. Raises IdentityError if they contradict."""
        internal = None if granted is None else granted - requested
        if told is None:
            return cls(None, requested, internal)
        own = told.own
        if told.used is not None:
            require_sum(told)
            own = None if granted is None else (own or 0) + require_blocks(told.used, granted) - granted
        known = (requested, internal, told.cached, told.free_pages, told.free_rest, own)
        unknown = told.held - sum(each for each in known if each is not None)
        if unknown < 0:
            raise IdentityError(f"the parts are {-unknown:,} bytes more than the {told.held:,} bytes held")
        return cls(told.held, requested, internal, told.cached, told.free_pages, told.free_rest, own, unknown)

    def as_json(self) -> dict[str, Any]:
        return {f"{name}_bytes": value for name, value in vars(self).items()}


def require_sum(told: Told) -> None:
    """Raise IdentityError unless the spans of a walk add up to what the malloc's own counter says."""
    spans = (told.used, told.cached, told.free_pages, told.free_rest, told.own)
    walked = sum(each for each in spans if each is not None)
    if walked != told.held:
        raise IdentityError(f"the walk finds {walked:,} bytes, but {told.held:,} bytes are held")


def require_blocks(used: int, granted: int) -> int:
    """Raise IdentityError unless the blocks that a walk finds contain what the callers may use."""
    if used < granted:
        raise IdentityError(f"the walk finds {used:,} bytes of blocks, but callers may use {granted:,}")
    return used
