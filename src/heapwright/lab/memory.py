"""How a heap's bytes are used at the moment when the most are live, and what it keeps when none is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heapwright.native.runtime.replay_job import UNTOLD


@dataclass(frozen=True)
class Usage:
    """Bytes of a heap, None where its malloc does not tell. Held is the sum of requested, internal and external."""

    requested: int  # by live blocks
    granted: int | None  # what those may use
    held: int | None  # from the kernel
    free: int | None
    largest_free: int | None  # stretch
    retained: int | None  # held after all was freed

    @classmethod
    def of(cls, at_peak: Any, at_end: Any) -> Usage:
        """From two Looks of a job."""
        return cls(
            requested=at_peak.requested,
            granted=told(at_peak.granted),
            held=told(at_peak.held),
            free=told(at_peak.free),
            largest_free=told(at_peak.largest_free),
            retained=told(at_end.held),
        )

    @property
    def internal(self) -> int | None:
        """Inside of blocks: what they may use beyond what they were asked for with."""
        return None if self.granted is None else self.granted - self.requested

    @property
    def external(self) -> int | None:
        """Outside of blocks: free memory, headers, the allocator's own records."""
        return None if self.held is None or self.granted is None else self.held - self.granted

    def as_json(self) -> dict[str, int | None]:
        return {
            "requested_bytes": self.requested,
            "internal_bytes": self.internal,
            "external_bytes": self.external,
            "free_bytes": self.free,
            "largest_free_bytes": self.largest_free,
            "held_bytes": self.held,
            "retained_bytes": self.retained,
        }


def told(number: int) -> int | None:
    return None if number == UNTOLD else number
