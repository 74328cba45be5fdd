"""What `heapwright compare --map` prints, and the page that `--html` writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.cli.terminal import console, progress, say
from heapwright.files import written_whole
from heapwright.wording import counted, duration, size

if TYPE_CHECKING:
    from rich.console import Console

    from heapwright.lab.contestant import Contestant
    from heapwright.maps.follow import HeapMap
    from heapwright.maps.subject import Subject
    from heapwright.traces.events import Process
    from heapwright.traces.stacks import Stacks

WIDTH = 100  # columns, if the terminal does not give a width
HEIGHT = 16  # rows of a map
MAX_WIDTH = 160
LABEL = 14  # columns of an address


def mapped(process: Process, stacks: Stacks, contestants: Sequence[Contestant]) -> tuple[Subject, list[HeapMap]]:
    """The maps of one process's heap on several mallocs. Raises CompareError if a replay crashes or hangs."""
    from heapwright.lab.compare import CompareError
    from heapwright.lab.sample import RunError
    from heapwright.maps.follow import heap_map
    from heapwright.maps.subject import subject_of

    subject, found = subject_of(process, stacks), []
    for each in contestants:
        try:
            found.append(heap_map(subject.flat, subject.sites, each, progress))
        except RunError as error:
            raise CompareError(f"{each.name}: the replay {error}") from error
    return subject, found


def write_page(path: Path, report: dict[str, Any], subject: Subject, maps: Sequence[HeapMap]) -> None:
    """Write the page about a report of `compare` with the curves that it has."""
    from heapwright.cli.compare_tables import events_line
    from heapwright.maps.page import make_page

    progress("writing the page")
    about = report["trace"]
    parts = {each["allocator"]: each["curves"]["columns"] for each in report["results"] if "curves" in each}
    page = make_page(about["command"] or about["file"], events_line(about), subject, maps, parts)
    with written_whole(path) as file:
        file.write(page.encode())


def print_maps(subject: Subject, maps: Sequence[HeapMap]) -> None:
    """Each malloc's map, one below the other, over the same time."""
    from heapwright.maps.text import LEGEND

    out = console(WIDTH)
    for each in maps:
        out.print()
        print_map(out, subject, each)
    out.print()
    say(out, LEGEND)


def print_map(out: Console, subject: Subject, each: HeapMap) -> None:
    from rich.text import Text

    from heapwright.maps.text import drawn, runs, size_of_row

    lines = drawn(each, min(MAX_WIDTH, out.width - LABEL - 3), HEIGHT)
    for sentence in sentences(each, size_of_row(each, lines)):
        say(out, sentence)
    before = -1
    for line in lines:
        label = f"{line.address:#x}" if line.address != before else ""
        out.print(Text.assemble(f"{label:>{LABEL}} │", *runs(line.text)), soft_wrap=True)
        before = line.address
    width = max((len(line.text) for line in lines), default=0)
    out.print(f"{'':>{LABEL}} └{'─' * width}", soft_wrap=True)
    out.print(f"{'':>{LABEL}}  {under(subject, width)}", markup=False, soft_wrap=True)


def sentences(each: HeapMap, row: int) -> Iterator[str]:
    """What is remarkable in a map, and its scale."""
    from heapwright.maps.text import seams

    most, last = max(each.resident_bytes, default=0), (each.resident_bytes or [0])[-1]
    yield f"{each.name}: {size(most)} resident at most, {size(last)} at the end"
    if each.hole:
        hole = each.hole
        resident = f"{size(hole.resident)} of it resident"
        yield f"  largest hole: {size(hole.size)} at {hole.start:#x}, {resident}, after {counted(hole.event, 'events')}"
    if each.failures:
        first = each.failures[0]
        refused = counted(len(each.failures), "refused requests")
        yield f"  {refused}, the first of {first.size:,} bytes at event {first.event + 1:,}"
    left_out = seams(each)
    unused = f"; {counted(left_out, 'gaps')} of unused addresses left out" if left_out else ""
    yield f"  a row is {size(row)}{unused}"


def under(subject: Subject, width: int) -> str:
    """The line below a map: its start and end, and where the peak is."""
    events = len(subject.flat)
    times = subject.times
    last = f"{events:,} events" + (f", {duration(int(times[-1]) / 1e6)}" if len(times) else "")
    at = min(width - 1, subject.flat.peak * width // max(1, events))
    line: list[Any] = [*"0".ljust(width)]
    line[max(0, width - len(last)) :] = last
    if 2 <= at < width - len(last) - 6:
        line[at : at + 6] = "▲ peak"
    return "".join(line)
