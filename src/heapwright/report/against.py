"""What grew from one recording to another, by the function that asked.

Functions are the same if they have the same name in the same file or library: lines move when a program is edited.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from heapwright.errors import UserError
from heapwright.report.callers import NOBODY, title
from heapwright.report.profile import Profile
from heapwright.traces.arrays import I64, np
from heapwright.wording import share, size

MEASURES = {"peak": "live at the peak", "left": "never freed", "requested": "asked for"}


def compared(now: Profile, before: Profile, name: str) -> dict[str, Any]:
    """The functions by how much more they have than in an earlier recording, called `name`; the largest change first.

    Raises UserError if only one of the recordings has call sites.
    """
    if now.has_sites != before.has_sites:
        lacking = name if now.has_sites else "the first recording"
        raise UserError(f"{lacking} has no call sites, the other one has: compare two of a kind")
    measures = {measure: rows_of(sums(now, measure), sums(before, measure)) for measure in MEASURES}
    return {"name": name, "text": sentence(now, before, measures["peak"], name), **measures}


def rows_of(now: Counter[str], before: Counter[str]) -> list[dict[str, Any]]:
    rows = [
        {"name": name, "difference": now[name] - before[name], "now": now[name], "before": before[name]}
        for name in now.keys() | before.keys()
        if now[name] != before[name]
    ]
    return sorted(rows, key=lambda row: (-abs(row["difference"]), row["name"]))


def sums(profile: Profile, measure: str) -> Counter[str]:
    """Bytes by the name of who asked for them."""
    return by_function(profile, values_of(profile, measure))


def values_of(profile: Profile, measure: str) -> I64:
    """The bytes of each call stack."""
    values: I64 = {
        "peak": profile.peak.bytes_by_site,
        "left": profile.end.bytes_by_site,
        "requested": profile.requests.bytes.values(),
    }[measure]
    return values


def by_function(profile: Profile, values: I64) -> Counter[str]:
    frames, found = profile.callers.stacks.frames, Counter[str]()
    by_frame = profile.by_name(values)
    for number in np.flatnonzero(by_frame).tolist():
        frame = frames[number] if number < len(frames) else NOBODY
        found[title(frame._replace(line=0))] += int(by_frame[number])
    return found


def sentence(now: Profile, before: Profile, rows: list[dict[str, Any]], name: str) -> str:
    """How the peak changed, and who changed it most."""
    peak, old = now.peak.live_bytes, before.peak.live_bytes
    if peak == old and not rows:
        return f"the peak is the same as in {name}, {size(peak)}"
    verb = "grew" if peak > old else "shrank" if peak < old else "did not change"
    text = f"the peak {verb} from {size(old)} in {name} to {size(peak)}, by {share(abs(peak - old), old)}"
    most = max(rows, key=lambda row: row["difference"] * (1 if peak >= old else -1), default=None)
    return f"{text}; {most['name']} has {signed(most['difference'])}" if most else text


def signed(difference: int) -> str:
    """A change of bytes, with its sign."""
    return f"{'+' if difference > 0 else '-' if difference < 0 else ''}{size(abs(difference))}"
