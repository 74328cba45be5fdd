"""What `heapwright compare --curves` prints: figures of merit, tables of parts, and a chart for each malloc."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING, Any

from heapwright.cli.report_text import LABEL, MAX_CURVE, MIN_CURVE
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import say
from heapwright.lab.curves.columns import AFTER, EVENTS, TIME
from heapwright.lab.curves.merit import FLOOR, REQUESTS
from heapwright.lab.curves.parts import PARTS
from heapwright.wording import counted, duration, size

if TYPE_CHECKING:
    from rich.console import Console

HEIGHT = 8  # rows of a chart
MUCH = 10  # a fraction whose decimals say nothing
AXES = {EVENTS: "event", TIME: "seconds"}  # of a chart: the column with the places of the samples
BANDS = ("requested", "resident", "held")
GLYPHS = "█▒░"
RATIOS = {"jw1": "jw1", "jw2": "jw2", "jw3": "jw3", "jw4": "jw4", "resident_excess": "resident"}
SHARES = {
    "internal_of_granted": "internal/granted",
    "internal_of_requested": "internal/requested",
    "largest_hole": "outside largest hole",
    "root_sum_square": "root sum square",
}
MOMENTS = dict(zip(AFTER, ("end", "freed", "{idle} s later", "after calls"), strict=True))


def print_curves(out: Console, results: list[dict[str, Any]], axis: str) -> None:
    """Everything about the memory of several mallocs over one trace. `axis` is that of the charts: events or time."""
    merit(out, results)
    parts(out, results)
    after(out, results)
    charts(out, results, axis)


# --- figures of merit


def merit(out: Console, results: list[dict[str, Any]]) -> None:
    heads = (
        "allocator",
        "peak held",
        "utilization",
        *RATIOS.values(),
        *SHARES.values(),
        *map("unusable {}".format, REQUESTS),
    )
    say(
        out, "\nfigures of merit; jw1 to jw4 are held beyond live: on average, at most live, at most held, most by most"
    )
    print_table(out, heads, [merit_row(result["allocator"], result["curves"]["merit"]) for result in results])
    if any(result["curves"]["merit"]["peak_live"] < FLOOR for result in results):
        say(out, f"ratios are left out because fewer than {FLOOR:,} bytes are live")
    found = {result["allocator"]: result["curves"]["merit"] for result in results}
    sampled = [name for name, each in found.items() if each["peak_held"] is not None and not each["is_exact"]]
    if sampled:
        say(out, f"{', '.join(sampled)}: what is held is known at the samples only")


def merit_row(allocator: str, found: dict[str, Any]) -> tuple[str, ...]:
    unusable = [found["unusable"][name] for name in REQUESTS]
    ratios = [found[name] for name in (*RATIOS, *SHARES)]
    return (allocator, number(found["peak_held"]), *map(percent, (found["utilization"], *ratios, *unusable)))


def percent(of: float | None) -> str:
    return "-" if of is None else f"{of:.1%}" if of < MUCH else f"{of:,.0%}"


def number(of: int | None) -> str:
    return "-" if of is None else f"{of:,}"


# --- parts


def parts(out: Console, results: list[dict[str, Any]]) -> None:
    say(out, "\nparts of what is held when the most bytes are live; a dash is what the malloc does not report")
    heads = ("allocator", "held", *(name.replace("_", " ") for name in PARTS))
    print_table(out, heads, [parts_row(result["allocator"], result["curves"]["columns"]) for result in results])


def parts_row(allocator: str, columns: dict[str, list[Any]]) -> tuple[str, ...]:
    requested = columns["requested_bytes"]
    peak = requested.index(max(requested))
    return (allocator, *(number(columns[f"{name}_bytes"][peak]) for name in ("held", *PARTS)))


def after(out: Console, results: list[dict[str, Any]]) -> None:
    """What is resident after the trace; nothing calls malloc_trim."""
    first = results[0]["curves"]
    names = [name.format(idle=first["idle_seconds"]) for name in MOMENTS.values()]
    calls = counted(first["calls"], "calls of malloc and free")
    say(out, f"\nresident bytes after the trace; nothing is called for {first['idle_seconds']} s, and then {calls}")
    rows = [
        (result["allocator"], *(number(result["curves"]["after"][name]["resident_bytes"]) for name in AFTER))
        for result in results
    ]
    print_table(out, ("allocator", *names), rows)


# --- charts


def charts(out: Console, results: list[dict[str, Any]], axis: str) -> None:
    """A chart for each malloc, all with the same scale: held memory may be cut off at the top."""
    top = max(max(result["curves"]["columns"][f"{name}_bytes"]) for result in results for name in BANDS[:2])
    width = max(MIN_CURVE, min(MAX_CURVE, out.width - LABEL - 3))
    say(out, f"\n{GLYPHS[0]} requested by live blocks  {GLYPHS[1]} resident  {GLYPHS[2]} held, cut off at the top")
    for result in results:
        chart(out, result, axis, top, width)


def chart(out: Console, result: dict[str, Any], axis: str, top: int, width: int) -> None:
    columns = result["curves"]["columns"]
    places = columns[AXES[axis]]
    bands = [placed([value or 0 for value in columns[f"{name}_bytes"]], places, width) for name in BANDS]
    say(out, f"\n{result['allocator']}: {result['curves']['source']}")
    for row, line in enumerate(banded(bands, top)):
        label = {0: size(top), HEIGHT // 2: size(top / 2)}.get(row, "")
        out.print(f"{label:>{LABEL}} ┤{line}", markup=False, soft_wrap=True)
    last = duration(places[-1]) if axis == TIME else counted(places[-1], "events")
    out.print(f"{'0':>{LABEL}} ┼{'─' * width}", soft_wrap=True)
    out.print(f"{'':>{LABEL}}  0{last:>{width - 1}}", markup=False, soft_wrap=True)


def placed(values: Sequence[int], places: Sequence[float], width: int) -> list[int]:
    """The highest value in each of `width` columns. A column without a sample has the value of the one before it."""
    found: list[int | None] = [None] * width
    for value, place in zip(values, places, strict=True):
        column = max(0, ceil(place * width / (places[-1] or 1)) - 1)
        found[column] = max(value, found[column] or 0)
    return list(accumulate(found, lambda before, value: before if value is None else value, initial=0))[1:]


def banded(bands: Sequence[Sequence[int]], top: int) -> Iterator[str]:
    """The rows of a chart, the top first: the lowest band that reaches the middle of a cell gives its glyph."""
    for row in range(HEIGHT - 1, -1, -1):
        level = (row + 0.5) * top / HEIGHT
        yield "".join(glyph(values, level) for values in zip(*bands, strict=True)).rstrip()


def glyph(values: Sequence[int], level: float) -> str:
    return next((glyph for glyph, value in zip(GLYPHS, values, strict=True) if value >= level), " ")
