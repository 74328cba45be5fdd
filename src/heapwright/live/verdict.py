"""The behaviour of a program's memory over time, from two or more reports: leak, retention, cache or steady.

leak       live blocks keep growing
retention  live blocks are flat; the free memory of the heap grows, or is a large part of it
cache      live blocks grew and then stayed level
steady     nothing grows
"""

from __future__ import annotations

from typing import Any, NamedTuple

MIN_CHANGE = 1 << 20  # bytes: less is noise
SHARE = 0.05  # of what there was
RETAINED = 0.4  # of the heap: retention without growth
LIVE = ("live", "mapped", "python_used", "cached")
HELD = ("free_pages", "free_kept", "free_rest", "python_free")
UNREAD = ("foreign_heap",)
LIVE_TOLD, HELD_TOLD = ("live_bytes", "cached_bytes"), ("free_bytes", "kept_bytes")
MAX_GROUPS = 5
MIN_LOOKS_OF_CACHE = 4


class Verdict(NamedTuple):
    """The verdict in one word, the reason in one sentence, and the groups that grew most."""

    word: str | None  # None if it is unknown what grew
    reason: str
    grown: list[dict[str, Any]]


def judge(reports: list[dict[str, Any]]) -> Verdict | None:
    """The verdict on reports of one program, in order; None if there are fewer than two."""
    if len(reports) < 2:
        return None
    live = [series(report, LIVE) + told(report, LIVE_TOLD) for report in reports]
    held = [series(report, HELD) + told(report, HELD_TOLD) for report in reports]
    unread = [series(report, UNREAD) if not is_told(report) else 0 for report in reports]
    groups = grown(reports[0], reports[-1])
    if rises(unread) and not rises(live):
        return Verdict(None, f"memory of an allocator that is not read grew by {change(unread)}", groups)
    if rises(live):
        word, what = ("cache", " and then stayed") if has_levelled(live) else ("leak", max_of(groups))
        return Verdict(word, f"live blocks grew by {change(live)}{what}", groups)
    return retention(live, held, groups) or Verdict(
        "steady", f"live blocks changed by {said(live)}, free memory that is held by {said(held)}", groups
    )


def retention(live: list[int], held: list[int], groups: list[dict[str, Any]]) -> Verdict | None:
    """The verdict of retention, if free memory grows while live blocks do not, or is a large part of the heap."""
    flat = f"live blocks are flat ({said(live)})"
    if rises(held):
        return Verdict("retention", f"{flat}; free memory that is held grew by {change(held)}", groups)
    if held[-1] >= MIN_CHANGE and held[-1] >= RETAINED * (held[-1] + live[-1]):
        share = 100 * held[-1] // (held[-1] + live[-1])
        return Verdict("retention", f"{flat}; {share} % of the heap is held but free", groups)
    return None


def series(report: dict[str, Any], parts: tuple[str, ...]) -> int:
    """The bytes of some parts, including swapped ones: a swapped leak is still a leak."""
    rows = [report["table"][part] for part in parts]
    return sum(
        (row["resident"] or 0) + (row["swapped"] or 0) if row["resident"] is not None else row["virtual"]
        for row in rows
    )


def is_told(report: dict[str, Any]) -> bool:
    """Whether the allocators whose blocks are not among the parts report their live bytes."""
    return any(each["live_bytes"] is not None for each in report["statistics"])


def told(report: dict[str, Any], figures: tuple[str, ...]) -> int:
    """The bytes reported by the allocators whose blocks are not among the parts."""
    apart = [each for each in report["statistics"] if not each["in_parts"]]
    return sum(each[name] or 0 for each in apart for name in figures)


def rises(values: list[int]) -> bool:
    return values[-1] - values[0] > max(MIN_CHANGE, SHARE * values[0])


def has_levelled(values: list[int]) -> bool:
    """Whether almost none of the growth happened in the second half of the looks."""
    if len(values) < MIN_LOOKS_OF_CACHE:
        return False
    return values[-1] - values[len(values) // 2] < SHARE * (values[-1] - values[0])


def grown(first: dict[str, Any], last: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of live blocks that grew, in descending order of growth."""
    before = {key_of(group): group for group in first["pins"]}
    rows = []
    for group in last["pins"]:
        old = before.get(key_of(group), {"bytes": 0, "blocks": 0})
        change = group["bytes"] - old["bytes"]
        if change > 0:
            row = {"kind": group["kind"], "size_class": group["size_class"]}
            rows.append({**row, "blocks": group["blocks"] - old["blocks"], "bytes": change})
    return sorted(rows, key=lambda row: -row["bytes"])[:MAX_GROUPS]


def key_of(group: dict[str, Any]) -> tuple[str, int]:
    return group["kind"], group["size_class"]


def max_of(groups: list[dict[str, Any]]) -> str:
    if not groups:
        return ""
    first = groups[0]
    return f", most by {first['blocks']:,} blocks of {first['kind']} of up to {first['size_class']:,} bytes"


def said(values: list[int]) -> str:
    return f"{(values[-1] - values[0]) / (1 << 20):+,.1f} MiB"


def change(values: list[int]) -> str:
    return f"{(values[-1] - values[0]) / (1 << 20):,.1f} MiB"
