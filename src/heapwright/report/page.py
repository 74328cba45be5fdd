"""The report as one self-contained HTML page: data, style and code are in it, and it loads nothing.

The page computes with what it shows: for each call stack that matters, its values in each part of the run. So a reader
chooses a range, and the flame graph and the tables follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heapwright.html.page import MAX_BYTES, Kind, assemble, steps_of
from heapwright.report.callers import short_name, title
from heapwright.report.findings import findings
from heapwright.report.profile import Profile
from heapwright.report.remarks import headline, remarks
from heapwright.report.source import Source
from heapwright.report.timeline import METRICS, Rows, Timeline, timeline
from heapwright.traces.arrays import I64, np
from heapwright.traces.stacks import Frame

REPORT = Kind(
    "report",
    Path(__file__).with_name("web"),
    ("data.js", "curve.js", "flame.js", "difference.js", "main.js"),
    "Made by <code>heapwright report --html</code>. Sizes are requested bytes.",
    '<label id="process-label" hidden>process <select id="process"></select></label>',
)
MAX_PROCESSES = 12  # on one page, those with the highest peaks
LIMIT = 6000  # call stacks of all processes, their callers included; fewer if the page would be too large
TOP = 200  # rows of a table


def make_page(name: str, source: Source, profiles: Sequence[Profile], against: dict[str, Any] | None = None) -> str:
    """The page about some processes of a trace. `name` is its title if no command is known.

    `against` is a comparison of `against.compared`, with a `tree` of `difference.difference`.
    """
    by_peak = sorted(profiles, key=lambda each: -each.peak.live_bytes)
    shown = by_peak[:MAX_PROCESSES]
    most = max(len(each.callers.stacks) for each in shown)
    limit = min(most, max(1, LIMIT // len(shown)))
    while True:
        processes = [process_data(each, timeline(source, each, limit)) for each in shown]
        data = {"processes": processes, "left_out": len(by_peak) - len(shown), "against": shortened(against)}
        page = assemble(REPORT, shown[0].process.command or name, data)
        if len(page.encode()) <= MAX_BYTES or limit == 1:
            return page
        limit //= 2


def shortened(against: dict[str, Any] | None) -> dict[str, Any] | None:
    """A comparison with the rows that the page shows."""
    return against and {"text": against["text"], "rows": against["peak"][:TOP], "tree": against["tree"]}


def process_data(profile: Profile, times: Timeline) -> dict[str, Any]:
    """What the page knows about a process."""
    found = findings(profile, TOP, with_trees=False)
    return {
        **found,
        "facts": headline(found),
        "remarks": [remark.text for remark in remarks(found)],
        "bins": {"start": times.start, "width": times.width, "high": times.high.tolist(), "when": times.when.tolist()},
        **rows_data(profile, times.rows),
        "values": {metric: steps_of(times.matrices[metric]) for metric in METRICS},
    }


def rows_data(profile: Profile, rows: Rows) -> dict[str, Any]:
    """The frames, and for each row its caller's row, its frame, and the frame to name; -1 for none."""
    stacks = profile.callers.stacks
    innermost = np.array(stacks.innermost, np.int64)[rows.stacks]
    innermost[0] = -1
    numbers = np.unique(innermost[1:])
    return {
        "frames": [frame_data(stacks.frames[number]) for number in numbers.tolist()],
        "parents": rows.parents(stacks),
        "frame": places_of(innermost, numbers),
        "named": places_of(profile.callers.named[rows.stacks], numbers),
    }


def places_of(frames: I64, numbers: I64) -> list[int]:
    """Where each frame is among some ascending numbers; -1 for none. All callers of a row have rows, so it is there."""
    places: list[int] = np.where(frames < 0, -1, np.searchsorted(numbers, frames)).tolist()
    return places


def frame_data(frame: Frame) -> list[str]:
    """The name of a frame, and what its colour stands for: its language and its library or file."""
    return [short_name(title(frame)), frame.language, (frame.module or frame.file).rpartition("/")[2]]
