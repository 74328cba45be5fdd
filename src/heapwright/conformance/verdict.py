"""The verdict of a check of a heap or of its C face."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    HOLDS = "holds"
    FAILS = "does not hold"
    SKIPPED = "skipped"
