"""The findings on a process as plain data, which JSON, the terminal and the page show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.report.callers import thread_name, title
from heapwright.report.curve import Points
from heapwright.report.profile import Profile
from heapwright.report.tallies import Bar, Moment, Vector
from heapwright.report.trees import Node, bottom_up, top_down
from heapwright.traces.arrays import F64, I64, np

Table = dict[str, Any]
TOP = 10


def findings(profile: Profile, top: int = TOP, with_trees: bool = True) -> Table:
    """All findings; tables have their `top` largest rows."""
    trees = {"top_down": top_down, "bottom_up": bottom_up} if with_trees and profile.has_sites else {}
    return {
        "number": profile.number,
        "process": process_facts(profile),
        "axis": profile.axis,
        "has_call_sites": profile.has_sites,
        "sample": sample_of(profile),
        "curve": curve_of(profile.curve),
        "peak": moment_of(profile, profile.peak, top, trees),
        "chosen": None if profile.options.at is None else moment_of(profile, profile.chosen, top, trees),
        "end": moment_of(profile, profile.end, top, trees),
        "requests": requests_of(profile, top),
        "temporary": temporary_of(profile, top),
        "growth": growth_of(profile, top),
        "sizes": [bar_of(bar) for bar in profile.sizes.bars()],
        "lifetimes": [bar_of(bar) for bar in profile.lifetimes.bars()],
        "frees": {"count": profile.threads.frees.total(), "of_others": profile.threads.frees_of_others.total()},
        "threads": threads_of(profile, top),
    }


def process_facts(profile: Profile) -> Table:
    process = profile.process
    facts = {"pid": process.pid, "parent": process.parent, "command": process.command}
    return facts | vars(process.summary) | {"notes": process.notes}


def curve_of(points: Points) -> Table:
    columns = {name: getattr(points, name).tolist() for name in ("high", "low", "last")}
    return {"start": points.start, "end": points.end, **columns}


def moment_of(profile: Profile, moment: Moment, top: int, trees: dict[str, Callable[..., Node]]) -> Table:
    """The live blocks at a moment: by the function to name, and as trees."""
    stacks = profile.callers.stacks
    return {
        "x": moment.x,
        "when": profile.when(moment.x),
        "bytes": moment.live_bytes,
        "blocks": moment.live_blocks,
        **error_of(profile, moment.variance_by_site),
        "callers": callers_of(
            profile,
            {"bytes": moment.bytes_by_site, "blocks": moment.blocks_by_site},
            top,
            moment.variance_by_site,
        ),
        **{name: tree(stacks, moment.bytes_by_site).as_json(stacks) for name, tree in trees.items()},
    }


def sample_of(profile: Profile) -> Table | None:
    """The rate of a sample, and how many requests are in it; None if all events are recorded."""
    rate = profile.process.sample
    return {"bytes": rate, "requests": profile.requests.recorded} if rate else None


def error_of(profile: Profile, variance: F64) -> Table:
    """The standard error of a total of bytes, if it is an estimate."""
    return {"error": float(variance.sum() ** 0.5)} if profile.process.sample else {}


def callers_of(
    profile: Profile, columns: dict[str, I64 | Vector], top: int, variance: F64 | None = None
) -> list[Table]:
    """The functions that have most of the first column, with all columns and their share of the first.

    `variance` is that of the first column; in a sample, each row then has its standard error.
    """
    errors = profile.by_name(variance) ** 0.5 if variance is not None and profile.process.sample else None
    values = {name: each.values() if isinstance(each, Vector) else each for name, each in columns.items()}
    sums = {name: profile.by_name(each) for name, each in values.items()}
    order, total = next(iter(sums.values())), int(next(iter(values.values())).sum())
    largest = np.argsort(-order, kind="stable")[:top]
    return [
        describe(profile, frame)
        | {name: int(sums[name][frame]) for name in sums}
        | {"share": float(order[frame] / total)}
        | ({} if errors is None else {"error": float(errors[frame])})
        for frame in largest.tolist()
        if order[frame] > 0
    ]


def describe(profile: Profile, number: int) -> Table:
    """A frame of `by_name`."""
    frame = profile.callers.frame(number if number < len(profile.callers.stacks.frames) else -1)
    facts = {name: getattr(frame, name) for name in ("function", "file", "line", "module", "language")}
    return {"name": title(frame), **facts}


def requests_of(profile: Profile, top: int) -> Table:
    requests = profile.requests
    return {
        "count": requests.count.total(),
        "bytes": requests.bytes.total(),
        **error_of(profile, requests.variance.fractions()),
        "callers": callers_of(
            profile, {"bytes": requests.bytes, "count": requests.count}, top, requests.variance.fractions()
        ),
    }


def temporary_of(profile: Profile, top: int) -> Table | None:
    """The blocks that were freed almost at once; None for a sample, which does not know."""
    requests = profile.requests
    if profile.process.sample:
        return None
    columns: dict[str, Any] = {
        "count": requests.temporary,
        "bytes": requests.temporary_bytes,
        "requests": requests.count,
    }
    rows = callers_of(profile, columns, top)
    for row in rows:
        row["share"] = row["count"] / max(row["requests"], 1)
    return {
        "others": profile.options.temporary,
        "count": requests.temporary.total(),
        "bytes": requests.temporary_bytes.total(),
        "callers": rows,  # their share is that of their own requests
    }


def growth_of(profile: Profile, top: int) -> Table | None:
    """The blocks that grew; None for a sample, which does not know."""
    if profile.process.sample:
        return None
    growth = profile.growth
    columns: dict[str, Any] = {"old_bytes": growth.old_bytes, "count": growth.count}
    rows = callers_of(profile, columns, top)
    longest = longest_by_name(profile)
    for row in rows:
        row["longest"] = longest.get(row["name"], 0)
    return {
        "grows": growth.grows,
        "shrinks": growth.shrinks,
        "same": growth.same,
        "old_bytes": growth.old_bytes.total(),
        "longest": int(growth.longest.values().max(initial=0)),
        "callers": rows,
    }


def longest_by_name(profile: Profile) -> dict[str, int]:
    """The most growths of one block, by the name of who asked for the last of them."""
    found: dict[str, int] = {}
    values = profile.growth.longest.values()
    for site in np.flatnonzero(values).tolist():
        name = title(profile.callers.frame(int(profile.named[site])))
        found[name] = max(found.get(name, 0), int(values[site]))
    return found


def bar_of(bar: Bar) -> Table:
    return {"up_to": 1 << bar.power, "count": bar.count, "bytes": bar.bytes}


def threads_of(profile: Profile, top: int) -> list[Table]:
    """The threads that asked for most."""
    threads = profile.threads
    vectors = {name: getattr(threads, name) for name in ("bytes", "requests", "frees", "frees_of_others")}
    count = max(len(each.values()) for each in vectors.values())
    columns = {name: each.values(count) for name, each in vectors.items()}
    columns["at_peak"] = np.pad(profile.peak.bytes_by_thread, (0, count))[:count]
    largest = np.argsort(-columns["bytes"], kind="stable")[:top].tolist()
    return [
        {"name": thread_name(profile.process.threads, thread)}
        | {name: int(column[thread]) for name, column in columns.items()}
        for thread in largest
        if any(column[thread] for column in columns.values())
    ]
