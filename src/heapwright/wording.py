"""Figures in words: counted nouns, sizes, shares and times."""

from __future__ import annotations

import re
from typing import Any

KIB, MIB = 1 << 10, 1 << 20
PLURAL = re.compile(r"(\w{2,}?)(sses|s)\b")
TIMES = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def counted(count: int, nouns: str) -> str:
    """A number and its noun. `nouns` begins with the plural: `1 process`, `2 double frees of ...`."""
    return f"{count:,} {nouns if count != 1 else PLURAL.sub(singular, nouns, count=1)}"


def singular(plural: re.Match[str]) -> str:
    return plural[1] + ("ss" if plural[2] == "sses" else "")


def size(count: float | None) -> str:
    """A size for a reader: in MiB, or in KiB or bytes if it is small; a dash if it is unknown."""
    if not count:
        return "-" if count is None else "0"
    if abs(count) < KIB:
        return f"{count:,.0f} B"
    return f"{count / MIB:,.1f} MiB" if abs(count) >= MIB // 10 else f"{count / KIB:,.1f} KiB"


def margin(value: float, error: float) -> str:
    """An error in percent of its value, with its sign: ` ± 3 %`; nothing if the value is 0."""
    if not value:
        return ""
    percent = 100 * error / value
    return f" ± {percent:.{1 if percent < 0.95 else 0}f} %"


def about(value: float, error: float) -> str:
    """An estimated number of bytes with its standard error: `about 1.2 MiB ± 3 %`."""
    return f"about {size(value)}{margin(value, error)}"


def share(part: float, whole: float) -> str:
    """A part in percent of the whole: `63 %`, `0.4 %`, `<0.1 %`; a dash if there is no whole."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < abs(percent) < 0.05:
        return "<0.1 %"
    return f"{percent:.{1 if 0 < abs(percent) < 1 else 0}f} %"


def duration(seconds: float) -> str:
    """A time with three digits, in the largest unit that makes it at least 1, otherwise in nanoseconds."""
    if not seconds:
        return "0 s"
    factor, unit = next((each for each in TIMES if seconds >= each[0]), TIMES[-1])
    return f"{three_digits(seconds / factor)} {unit}"


def three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def when_recorded(facts: dict[str, Any]) -> str:
    """When calls were recorded, by the `recorded` of a trace's header: `in 2 parts, from 1.25 s to 3.40 s; ...`."""
    parts, budget = facts["parts"], facts.get("budget", 0)
    spent = f"until the trace reached its budget of {budget:,} bytes" if budget else ""
    if not parts:
        return "never"
    first, last = (duration(time / 1e6) for time in (parts[0][0], parts[-1][1]))
    count = f"in {counted(facts['starts'], 'parts')}, " if facts["starts"] > 1 else ""
    before = "; blocks from before are unknown" if parts[0][0] else ""
    return f"{count}from {first} to {last}{before}{spent and ', '}{spent}"
