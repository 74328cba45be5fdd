"""What `heapwright report` prints: sentences, the curve of live bytes, tables, trees and histograms."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from heapwright.cli.tables import print_table
from heapwright.cli.terminal import is_width_known, say
from heapwright.report.against import MEASURES, signed
from heapwright.report.remarks import error_of, headline
from heapwright.wording import counted, duration, share, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

Findings = dict[str, Any]
NARROW, WIDE = 50, 70  # columns, for shares, and for exact bytes
BYTES = ("bytes", "old_bytes", "at_peak", "peak")
HEIGHT = 8  # rows of the curve
LABEL = 10  # columns before it
MAX_CURVE, MIN_CURVE = 100, 16  # columns
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
EIGHTHS = " ▁▂▃▄▅▆▇█"
MIN_SHARE, MAX_CHILDREN, MAX_DEPTH = 0.03, 5, 10  # of a tree: of the whole for a line; of a node; below the root
SAME = 0.005  # of the whole: a child that lacks no more joins its parent
MIN_BAR, MAX_BAR, MAX_ROWS = 8, 30, 12  # of a histogram
FIGURES, SIZE = 28, 12  # columns for the figures of a row, and for its bytes
LACKS = "it does not know temporary blocks, growth, and when exactly most bytes were live"
NO_SITES = "the trace has no call sites, so blocks are told apart by size; `record --call-sites` says who asked"


def print_report(out: Console, findings: Findings, remarks: Sequence[str]) -> None:
    """Everything about one process."""
    title(out, findings)
    for remark in remarks:
        say(out, hanging(f"* {remark}", out.width))
    if not findings["process"]["events"]:
        return
    curve(out, findings)
    moment = findings["chosen"] or findings["peak"]
    name = "live" if findings["chosen"] else "the peak"
    holders(out, f"{name} at {moment['when']}", moment, findings)
    trees(out, moment)
    if findings["end"]["bytes"] and moment["when"] != findings["end"]["when"]:  # else they have just been named
        holders(out, "never freed", findings["end"], findings)
    requests(out, findings)
    temporary(out, findings)
    growth(out, findings)
    histograms(out, findings)
    threads(out, findings)


def hanging(line: str, width: int) -> str:
    """A line, folded with an indent if the terminal's width is known."""
    return fill(line, width, subsequent_indent="  ") if is_width_known(sys.stdout) else line


def heading(out: Console, text: str) -> None:
    out.print()
    out.print(text, style="bold", markup=False, soft_wrap=not is_width_known(sys.stdout))


def title(out: Console, findings: Findings) -> None:
    process = findings["process"]
    if process["command"]:
        say(out, f"{process['command']}{whose(findings)}")
    say(out, headline(findings))
    if findings["sample"]:
        rate = power_of_two(findings["sample"]["bytes"])
        say(
            out,
            f"a sample, a request in every {rate} on average: figures are estimates ± their standard error; {LACKS}",
        )
    if not findings["has_call_sites"]:
        say(out, NO_SITES)


def whose(findings: Findings) -> str:
    """The process's PID, if it is known."""
    pid = findings["process"]["pid"]
    return f" (process {findings['number']}, PID {pid})" if pid else ""


# --- the curve


def curve(out: Console, findings: Findings) -> None:
    points = findings["curve"]
    width = max(MIN_CURVE, min(MAX_CURVE, out.width - LABEL - 3))
    columns = resampled(points["high"], width)
    peak = max(columns, default=0)
    heading(out, "live bytes")
    for row, line in enumerate(filled(columns, peak)):
        label = {0: size(peak), HEIGHT // 2: size(peak / 2)}.get(row, "")
        out.print(f"{label:>{LABEL}} ┤{line}", markup=False, soft_wrap=True)
    out.print(f"{'0':>{LABEL}} ┼{'─' * width}", soft_wrap=True)
    out.print(f"{'':>{LABEL}}  {ends(findings, width)}", markup=False, soft_wrap=True)


def resampled(values: Sequence[int], width: int) -> list[int]:
    """The highest value in each of `width` columns."""
    count = len(values)
    firsts = [column * count // width for column in range(width + 1)]
    return [max(values[a : max(b, a + 1)]) for a, b in zip(firsts, firsts[1:], strict=False)] if count else []


def filled(columns: Sequence[int], peak: int) -> Iterator[str]:
    """The rows of the curve, the top first: each column is filled up to its value in eighths of a row."""
    heights = [round(value * HEIGHT * 8 / max(peak, 1)) or (value > 0) for value in columns]
    for row in range(HEIGHT - 1, -1, -1):
        yield "".join(EIGHTHS[max(0, min(8, height - 8 * row))] for height in heights).rstrip()


def ends(findings: Findings, width: int) -> str:
    """The line below the curve: its start and end, and where the peak is."""
    points, is_time = findings["curve"], findings["axis"] == "time"
    first, last = (duration(x / 1e6) if is_time else f"{x:,}" for x in (points["start"], points["end"]))
    last = last if is_time else f"{last} events"
    peak, length = findings["peak"]["x"], max(points["end"] - points["start"], 1)
    at = min(width - 1, round((peak - points["start"]) / length * (width - 1)))
    line = [*first.ljust(width)]
    line[width - len(last) :] = last
    if len(first) + 1 <= at < width - len(last) - 6:
        line[at : at + 6] = "▲ peak"
    return "".join(line)


# --- tables


def holders(out: Console, name: str, moment: dict[str, Any], findings: Findings) -> None:
    """Who has the live blocks at a moment."""
    heading(out, f"{name}: {size(moment['bytes'])}{error_of(moment)} in {counted(moment['blocks'], 'blocks')}")
    table(out, moment["callers"], name=who(findings), share="share", bytes="bytes", **errors(findings), blocks="blocks")


def requests(out: Console, findings: Findings) -> None:
    asked = findings["requests"]
    heading(out, f"all requests: {size(asked['bytes'])}{error_of(asked)} in {counted(asked['count'], 'requests')}")
    table(out, asked["callers"], name=who(findings), share="share", bytes="bytes", **errors(findings), count="requests")


def errors(findings: Findings) -> dict[str, str]:
    """The column of standard errors, which only a sample has."""
    return {"error": "±"} if findings["sample"] else {}


def temporary(out: Console, findings: Findings) -> None:
    short = findings["temporary"]
    if not short or not short["count"]:
        return
    others = f"at most {counted(short['others'], 'other requests')}" if short["others"] else "no other request"
    heading(out, f"temporary: {counted(short['count'], 'blocks')} freed after {others}")
    table(out, short["callers"], name=who(findings), share="of its requests", bytes="bytes", count="blocks")


def growth(out: Console, findings: Findings) -> None:
    grown = findings["growth"]
    if not grown or not grown["grows"]:
        return
    heading(out, f"reallocs: {grown['grows']:,} to a larger size, {grown['shrinks']:,} smaller, {grown['same']:,} same")
    heads = {"count": "growths", "longest": "of one block", "old_bytes": "bytes to copy"}
    table(out, grown["callers"], name=who(findings), **heads)


def threads(out: Console, findings: Findings) -> None:
    if findings["process"]["threads"] < 2:
        return
    heading(out, "threads")
    heads = {"at_peak": "at peak", "frees_of_others": "of others'"}
    table(out, findings["threads"], name="thread", bytes="bytes", requests="requests", frees="frees", **heads)


def processes(out: Console, rows: Sequence[dict[str, Any]]) -> None:
    """The processes of a trace, those with the highest peaks first."""
    heading(out, counted(len(rows), "processes"))
    table(out, rows, command="command", number="process", pid="PID", events="events", peak="peak")


def against(out: Console, comparison: dict[str, Any], top: int) -> None:
    """What grew since an earlier recording: a table for each measure that changed."""
    for measure, name in MEASURES.items():
        rows = [
            {"name": row["name"], "grew": signed(row["difference"]), "bytes": row["now"], "peak": row["before"]}
            for row in comparison[measure][:top]
        ]
        if rows:
            heading(out, f"what changed: {name}")
            table(out, rows, name="asked for by", grew="by", bytes="now", peak="before")


def who(findings: Findings) -> str:
    return "asked for by" if findings["has_call_sites"] else "size"


def table(out: Console, rows: Sequence[dict[str, Any]], **heads: str) -> None:
    """A table with the named values of each row. The first is text."""
    names = [name for name in heads if name != "share" or out.width >= NARROW]
    print_table(out, [heads[name] for name in names], [[cell(out, row, name) for name in names] for row in rows])


def cell(out: Console, row: dict[str, Any], name: str) -> str:
    value = row[name]
    if name == "share":
        return share(value, 1)
    if name == "error":
        return share(value, row["bytes"])
    if name in BYTES and out.width < WIDE:
        return size(value)
    return f"{value:,}" if isinstance(value, int) and name not in ("pid", "number") else str(value) or "?"


# --- trees and histograms


def trees(out: Console, moment: dict[str, Any]) -> None:
    """Both trees of a moment, if it has call stacks."""
    for key, name, arrow in (("top_down", "from main down", " → "), ("bottom_up", "from malloc up", " ← ")):
        if key in moment:
            heading(out, name)
            for child in moment[key]["children"]:
                if child["value"] >= MIN_SHARE * moment[key]["value"]:
                    out.print(drawn(child, moment[key]["value"], arrow))


def drawn(root: dict[str, Any], whole: int, arrow: str, depth: int = MAX_DEPTH) -> Tree:
    """A tree with a line for each node that is worth one. A node joins its only child if nothing is its own."""
    from rich.tree import Tree

    names, last = [root["name"]], root
    while len(last["children"]) == 1 and last["value"] - last["children"][0]["value"] < SAME * whole:
        last = last["children"][0]
        names.append(last["name"])
    tree = Tree(label(root["value"], whole, arrow.join(names)), guide_style="dim")
    shown = [child for child in last["children"] if child["value"] >= MIN_SHARE * whole][: MAX_CHILDREN if depth else 0]
    tree.children = [drawn(child, whole, arrow, depth - 1) for child in shown]
    return tree


def label(value: int, whole: int, names: str) -> Text:
    from rich.text import Text

    return Text.assemble((share(value, whole), "bold"), f" {size(value)}  {names}")


def histograms(out: Console, findings: Findings) -> None:
    heading(out, "requests by size")
    bars(out, findings["sizes"], power_of_two)
    if findings["lifetimes"]:
        is_time = findings["axis"] == "time"
        heading(out, f"freed blocks by lifetime{'' if is_time else ', in events'}")
        bars(out, findings["lifetimes"], lambda top: duration(top / 1e6) if is_time else f"{top:,}")


def bars(out: Console, rows: Sequence[dict[str, int]], named: Callable[[int], str]) -> None:
    """A histogram with a bar for each row's count."""
    rows = coarse(rows)
    most = max(row["count"] for row in rows)
    width = max(MIN_BAR, min(MAX_BAR, out.width - FIGURES))
    for row in rows:
        length = round(width * row["count"] / most) or (row["count"] > 0)
        name = f"up to {named(row['up_to'])}"
        line = f"{name:>15} {'█' * length:<{width}} {row['count']:>11,}"
        is_wide = out.width >= FIGURES + MIN_BAR + SIZE
        out.print(f"{line}{size(row['bytes']):>{SIZE}}" if is_wide else line, markup=False, soft_wrap=True)


def power_of_two(count: int) -> str:
    """A size that is a power of two, exactly: `128 KiB`."""
    unit = min((count.bit_length() - 1) // 10, len(BINARY) - 1)
    return f"{count >> 10 * unit} {BINARY[unit]}"


def coarse(rows: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    """The rows of a histogram, neighbours joined so that there are not too many."""
    step = -(-len(rows) // MAX_ROWS)
    groups = [rows[first : first + step] for first in range(0, len(rows), step)]
    return [
        {"up_to": group[-1]["up_to"]} | {name: sum(row[name] for row in group) for name in ("count", "bytes")}
        for group in groups
    ]
