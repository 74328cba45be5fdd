"""The report of `heapwright inspect` as text: sentences first, then tables, histograms and a map of the heap.

All are pure functions from a report (`heapwright.live.report`) or a look to lines of text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from heapwright.live.pages import PAGE
from heapwright.live.parts import PARTS
from heapwright.live.regions import ABSENT, FREE, FULL, PARTLY, STATES, SWAPPED, Region
from heapwright.wording import size

STYLES = {FULL: "bold", PARTLY: "yellow", FREE: "green", ABSENT: "dim", SWAPPED: "magenta"}
SHADES = {FULL: "█", PARTLY: "▓", FREE: "░", ABSENT: "·", SWAPPED: "▒"}
ORDER = (PARTLY, FULL, FREE, SWAPPED, ABSENT)  # precedence of states that are equally common in a cell
BAR = 40
ROWS_OF_MAP = 24
MAX_GROUPS = 10
OWN_FIGURES = {
    "live_bytes": "live",
    "cached_bytes": "cached by threads",
    "free_bytes": "free between live blocks",
    "kept_bytes": "free whole pages",
    "released_bytes": "released to the kernel",
}
DIAGNOSES = {
    "leak": "a leak: nothing points to {size} of live blocks",
    "live": "mostly live blocks, {share}: --leaks finds those that nothing points to, --every those that grow",
    "retention": "mostly retention: {share} is freed memory, and malloc keeps whole pages of it",
    "fragmentation": "mostly fragmentation: {share} is freed memory, and live blocks among it pin most",
    "pinned arenas": "mostly pinned arenas: {share} is freed memory, most in Python's arenas, which a few objects hold",
    "caches": "mostly threads' caches, {share}",
    "another allocator": "mostly memory of {foreign}, {share}, whose blocks are not read",
    "stacks": "mostly thread stacks, {share}",
    "program": "mostly the program and its libraries, {share}",
    "files": "mostly mapped files and shared memory, {share}",
    "mappings": "mostly mappings that no heap has, {share}",
}
SHARE_OF_ALL = 0.002  # of what all groups have together: less has no row
SHARE_WORTH = 0.01  # of the resident set: a smaller part gets no sentence


# --- sentences


def answer(report: dict[str, Any]) -> list[str]:
    """The sentences of the report, most important first."""
    lines = [headline(report), *first_answer(report), *composition(report), *map(records_of, told(report))]
    lines += [f"damaged: {each['invariant']}: broken at {each['address']:#x}" for each in report["damage"]]
    lines += leak_lines(report)
    lines += [f"advice: {text}" for text in report["advice"]]
    return lines + [f"note: {text}" for text in report["notes"]]


def progress_line(report: dict[str, Any]) -> str:
    """Where a watch stands."""
    looks = len(report.get("history", [])) or 1
    return f"look {looks}: {size(report['resident_bytes'])} resident, {report['verdict'] or 'no verdict yet'}"


def headline(report: dict[str, Any]) -> str:
    who = f"{report['name']} (process {report['pid']})" if report["pid"] else report["name"]
    versions = ", ".join(dict.fromkeys(f"glibc {each['version']}" for each in report["libraries"]))
    malloc = versions if report["allocator"] == "glibc" else named(report)
    what = f"{size(report['resident_bytes'])} resident" if report["resident_bytes"] is not None else "a core file"
    swapped = f", {size(report['swapped_bytes'])} swapped" if report["swapped_bytes"] else ""
    return f"{who}: {what}{swapped}; malloc is {malloc}{paused(report['pause'])}"


def named(report: dict[str, Any]) -> str:
    """The allocator, with its version if its records or its file contain it."""
    name = report["allocator"]
    versions = [each["version"] for each in report["statistics"] if each["name"] == name and each["version"]]
    return " ".join([name, *versions[:1]])


def paused(pause: dict[str, Any] | None) -> str:
    if not pause:
        return ""
    times = "once" if pause["count"] == 1 else f"{pause['count']} times"
    return f"; it stood still {times}, at most {1000 * pause['longest_seconds']:.0f} ms"


def first_answer(report: dict[str, Any]) -> list[str]:
    """The verdict on several looks, or what one look says it is, in a sentence."""
    if report.get("reason"):
        return [f"verdict: {report['verdict'] or 'none'}: {report['reason']}"]
    if report["diagnosis"] is None:
        return []
    known = report["diagnosed_bytes"]
    words = {"size": size(known), "share": share(known, report), "foreign": report["foreign"]}
    return [f"it is {DIAGNOSES[report['diagnosis']].format(**words)}"]


def composition(report: dict[str, Any]) -> list[str]:
    """Sentences about live, free and pinned memory."""
    parts = report["parts"]
    if not report["heap_bytes"]:
        return [] if told(report) else ["no heap in it could be read"]
    live = sum(parts[name] for name in ("live", "mapped", "python_used"))
    if report["resident_bytes"] is None:
        return [f"live blocks have {size(live)}; a core file does not record which pages were resident"]
    lines = [f"{size(live)} are live blocks ({share(live, report)} of the resident set)"]
    gain, pinned = report["returnable_bytes"], parts["free_rest"] + parts["python_free"]
    if report["returned_by"]:
        call = report["returned_by"]
        lines.append(f"{size(gain)} are free whole pages that {call} would give back now ({share(gain, report)})")
    if parts["free_kept"] >= SHARE_WORTH * report["resident_bytes"]:
        lines.append(
            f"{size(parts['free_kept'])} are free whole pages that it keeps ({share(parts['free_kept'], report)})"
        )
    lines.append(f"{size(pinned)} are free but pinned by live blocks around them ({share(pinned, report)})")
    return lines


def told(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The allocators whose own figures are known but whose blocks are not among the parts."""
    return [each for each in report["statistics"] if not each["in_parts"] and each["live_bytes"] is not None]


def records_of(figures: dict[str, Any]) -> str:
    """A sentence with the figures of an allocator's own records."""
    said = [f"{size(figures[name])} {what}" for name, what in OWN_FIGURES.items() if figures[name] is not None]
    return f"{figures['name']}'s own records: {', '.join(said)}"


def share(part: int, report: dict[str, Any]) -> str:
    return f"{100 * part / max(report['resident_bytes'], 1):.0f} %"


def leak_lines(report: dict[str, Any]) -> list[str]:
    """Lines about the live blocks that nothing points to."""
    leaks = report["leaks"]
    if leaks is None:
        return []
    if not leaks:
        return ["leaks: none: something points to each live block"]
    total = sum(group["bytes"] for group in leaks)
    count = sum(group["blocks"] for group in leaks)
    lines = [f"leaks: nothing points to {count:,} live blocks of {size(total)}"]
    for group in leaks[:MAX_GROUPS]:
        what = f"{group['blocks']:,} of {group['kind']}, up to {group['size_class']:,} bytes"
        lines.append(f"  {size(group['bytes'])} in {what}")
    return lines


def explanation(facts: dict[str, Any]) -> list[str]:
    """Lines about one address: its mapping, its block, its bytes, and the pointers to it."""
    lines = [f"{facts['address']:#x} lies in {facts['mapping']}"]
    block = facts["block"]
    if block:
        lines.append(f"{block_line(block)}, in {block['arena']}")
        lines += [f"  beside it {block_line(each)}" for each in block["neighbours"]]
    lines += [f"  {line}" for line in facts["bytes"]]
    lines += [f"  {each['at']:#x} points to it: {each['in']}" for each in facts["pointers"]]
    return lines if facts["pointers"] else [*lines, "  nothing points to it"]


def block_line(block: dict[str, Any]) -> str:
    kind = f" ({block['kind']})" if "kind" in block else ""
    return f"a {block['state']} block at {block['start']:#x} of {block['size']:,} bytes{kind}"


# --- tables


def parts_table(report: dict[str, Any]) -> Table:
    """The memory by part; each column sums to the value in smaps."""
    table = plain_table("part", "resident", "swapped", "virtual")
    titles = PARTS | ({"foreign_heap": f"memory of {report['foreign']}"} if report["foreign"] else {})
    for part, title in titles.items():
        row = report["table"][part]
        if any(row.values()):
            table.add_row(title, size(row["resident"]), size(row["swapped"]), size(row["virtual"]))
    totals = (report[f"{name}_bytes"] for name in ("resident", "swapped", "virtual"))
    title = "all" if report["resident_bytes"] is None else "all: as smaps says"
    table.add_row(Text(title, "bold"), *map(size, totals))
    return table


def groups_table(report: dict[str, Any]) -> Table | None:
    """The groups of live blocks that hold back the most free memory. If that is next to nothing, the largest groups."""
    groups = report["pins"]
    pinned = sum(group["pinned_bytes"] for group in groups)
    if report["resident_bytes"] is not None and pinned >= SHARE_WORTH * report["resident_bytes"]:
        return pins_table(largest(groups, "pinned_bytes"))
    table = plain_table("live blocks", "up to bytes", "blocks", "bytes")
    for group in largest(groups, "bytes"):
        table.add_row(group["kind"], f"{group['size_class']:,}", f"{group['blocks']:,}", size(group["bytes"]))
    return table if groups else None


def largest(groups: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The groups that have most of something, without those that have next to nothing of it."""
    total = sum(group[key] for group in groups)
    found = [group for group in groups if group[key] >= SHARE_OF_ALL * total]
    return sorted(found, key=lambda group: -group[key])[:MAX_GROUPS]


def pins_table(groups: list[dict[str, Any]]) -> Table:
    table = plain_table("what pins", "up to bytes", "blocks", "live", "holds back", "releases alone")
    for group in groups:
        numbers = (group["bytes"], group["pinned_bytes"], group["releases_bytes"])
        table.add_row(group["kind"], f"{group['size_class']:,}", f"{group['blocks']:,}", *map(size, numbers))
    return table


def arenas_table(report: dict[str, Any]) -> Table | None:
    if len(report["arenas"]) < 2:
        return None
    table = plain_table("arena", "segments", "from the kernel", "live", "free", "of that resident")
    for arena in report["arenas"]:
        numbers = (arena["system_bytes"], arena["live_bytes"], arena["free_bytes"], arena["resident_free_bytes"])
        table.add_row(arena["name"], f"{arena['segments']:,}", *map(size, numbers))
    return table


def holes_table(report: dict[str, Any]) -> Table | None:
    """The largest holes, without those that have no whole page."""
    holes = [hole for hole in report["holes"] if hole["size"] >= PAGE]
    table = plain_table("largest holes", "at", "size", "resident")
    for hole in holes:
        resident = None if report["resident_bytes"] is None else hole["resident"]
        table.add_row(hole["heap"], f"{hole['start']:#x}", size(hole["size"]), size(resident))
    return table if holes else None


def plain_table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index == 0 else "right", no_wrap=True)
    return table


# --- histogram


def histogram(report: dict[str, Any]) -> list[Text]:
    """Live blocks by size class: a bar for the bytes, and the number of blocks."""
    rows = doublings(report["sizes"])
    maximum = max((row["bytes"] for row in rows), default=0)
    lines = [Text("live blocks by size, as bytes of all", "bold")] if rows else []
    for row in rows:
        bar = "█" * max(1, round(BAR * row["bytes"] / max(maximum, 1)))
        lines.append(Text(f"{row['size_class']:>13,}  {bar:<{BAR}}  {size(row['bytes']):>12} in {row['blocks']:,}"))
    return lines


def doublings(sizes: Iterable[dict[str, int]]) -> list[dict[str, int]]:
    """Size classes joined into powers of two: up to 16 bytes, 32, 64 and so on."""
    found: dict[int, dict[str, int]] = {}
    for each in sizes:
        top = 1 << (each["size_class"] - 1).bit_length()
        row = found.setdefault(top, {"size_class": top, "blocks": 0, "bytes": 0})
        row["blocks"] += each["blocks"]
        row["bytes"] += each["bytes"]
    return list(found.values())


# --- map


def memory_map(regions: Sequence[Region], width: int = 100) -> list[Text]:
    """The heap by address; a cell stands for some pages and shows their commonest state, or that one is partly used."""
    pages = sum(len(region.states) for region in regions)
    if not pages:
        return []
    cells = max(16, width - 20)
    per_cell = max(1, -(-pages // (ROWS_OF_MAP * cells)))
    legend = Text("each cell is ").append(f"{size(per_cell * 4096)}: ")
    for state in (FULL, PARTLY, FREE, ABSENT, SWAPPED):
        legend.append(f"{SHADES[state]} {STATES[state]}  ", STYLES[state])
    return [legend, *(line for region in regions for line in rows_of(region, per_cell, cells))]


def rows_of(region: Region, per_cell: int, cells: int) -> Iterable[Text]:
    states = cell_states(region.states, per_cell)
    yield Text(region.name, "bold")
    for first in range(0, len(states), cells):
        line = Text(f"{region.start + first * per_cell * 4096:#16x}  ")
        for state in states[first : first + cells]:
            line.append(SHADES[state], STYLES[state])
        yield line


def cell_states(states: Any, per_cell: int) -> list[int]:
    """The commonest state of the pages of each cell."""
    count = -(-len(states) // per_cell)
    padded = np.full(count * per_cell, 255, np.uint8)
    padded[: len(states)] = states
    rows = padded.reshape(count, per_cell)
    counts = np.stack([(rows == state).sum(axis=1) for state in ORDER])
    return [ORDER[index] for index in counts.argmax(axis=0).tolist()]
