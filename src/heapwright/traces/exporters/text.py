"""What the writers of event lists share."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from heapwright.files import written_whole
from heapwright.traces.arrays import np
from heapwright.traces.calls import note
from heapwright.traces.events import INHERITED, Events

FROM_BEFORE = "blocks from before a fork or a cut, written as allocations"
TIMES = "times, left out"
SITES = "call stacks, left out"


def note_common_losses(notes: Counter[str], events: Events) -> None:
    """Count what no text of events without stacks holds."""
    note(notes, FROM_BEFORE, (events.flags & INHERITED != 0).sum())
    note(notes, TIMES, np.count_nonzero(events.time))
    note(notes, SITES, np.count_nonzero(events.site))


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    path = Path(path)
    with written_whole(path) as file:
        if path.suffix == ".zip":
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{path.stem}.txt", text)
        else:
            file.write(text)
