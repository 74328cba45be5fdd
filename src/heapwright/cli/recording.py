"""The work of `heapwright record`. It does not import click, because the program would have to wait for that."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from heapwright.cli.launch import launch
from heapwright.cli.terminal import tell, tell_notes
from heapwright.errors import UserError
from heapwright.files import check_output, written_whole
from heapwright.options import SAMPLE_VARIABLE
from heapwright.preload import is_reachable_by_all, why_unserved
from heapwright.traces.raw_stacks import VARIABLE
from heapwright.wording import about, counted, when_recorded

MEMORY, MEMORY_ROOM = Path("/dev/shm"), 1 << 28  # noqa: S108  a folder of ours lies in it
CONVERSION = "heapwright.traces.conversion.passes"  # what the collector calls; not imported here: that takes a while
PLACES = Path("/var/tmp"), Path("/tmp")  # for the ring of root's recordings, if other users cannot reach the others


def record(
    output: str | Path,
    command: Sequence[str],
    depth: int | None = None,
    control: Path | None = None,
    budget: int | None = None,
    sample: int | None = None,
) -> int:
    """Run a command, and record it in the trace `output`. Returns the command's exit status.

    Arguments are those of `heapwright record`. Raises UserError if nothing was recorded.
    """
    from heapwright.lab.collector import Collector
    from heapwright.lab.control import check_control, control_file

    output = Path(output)
    check_output(output)
    if control:
        check_control(control)
    library, ticks = tools(sample)
    is_root = os.geteuid() == 0  # its program may become another user, who must find the ring after an exec
    with written_whole(output) as trace, work_folder(output, is_root) as folder, ExitStack() as stack:
        with Collector(folder, trace, is_root, ticks, bool(control), budget or 0, sample or 0, depth or 0) as collector:
            if control:
                stack.enter_context(control_file(control, collector.path))
            status = launch(command, library, {"HEAPWRIGHT_RECORD": str(collector.path)} | settings(depth, sample))
            running = Counter() if collector.is_alone else still_running(collector.path)
        header, reason = collector.complete(), why_unserved(command[0])
        if not header["processes"] and (reason or not sample):
            raise UserError(f"nothing was recorded: {command[0]} {reason or why_nothing(header)}")
    report(output, header, running)
    if reason:
        tell(f"  {command[0]} itself is not recorded: it {reason}")
    return status


def tools(sample: int | None) -> tuple[Path, Callable[[], int] | None]:
    """The library to preload, and the processor's clock if it may be used.

    The library of the conversion is compiled here, too, if it is not there: a program would not wait so long for it.
    """
    from heapwright.lab.collector import is_clock_common
    from heapwright.native.clock import processor_clock
    from heapwright.native.library import functions_library_at, recorder_library, sampler_library
    from heapwright.native.own_sources import PACKAGE

    functions_library_at(CONVERSION, PACKAGE.joinpath(*CONVERSION.split(".")[1:]).with_suffix(".py"))
    library = sampler_library() if sample else recorder_library()
    return library, processor_clock() if is_clock_common() else None


def settings(depth: int | None, sample: int | None) -> dict[str, str]:
    """The recorder's settings, for the program's environment."""
    chosen = {VARIABLE: depth, SAMPLE_VARIABLE: sample}
    return {name: str(value) for name, value in chosen.items() if value}


@contextmanager
def work_folder(output: Path, by_all_users: bool) -> Iterator[Path]:
    """A folder for the ring, which all processes of the run can reach."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=place_for(output, by_all_users)) as folder:
        Path(folder).chmod(0o711 if by_all_users else 0o700)
        yield Path(folder)


def place_for(output: Path, by_all_users: bool) -> Path:
    """The folder for the ring: in memory if there is room, because a program that allocates must not wait for a disk.

    Otherwise it is the trace's, unless root's program might not reach that as another user.
    """
    beside = output.absolute().parent
    choices = (MEMORY, beside, *PLACES) if is_roomy(MEMORY) else (beside, *PLACES)
    usable = (each for each in choices if os.access(each, os.W_OK))
    return next((each for each in usable if not by_all_users or is_reachable_by_all(each)), beside)


def is_roomy(folder: Path) -> bool:
    """Whether there is room for a large ring."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize > MEMORY_ROOM


def why_nothing(header: dict[str, Any]) -> str:
    """Why there are no calls of a program that could be recorded."""
    if "recorded" not in header:
        return "never called malloc"
    starts = header["recorded"]["starts"]
    return "never called malloc while recording was on" if starts else "ran to its end before recording was started"


def report(output: Path, header: dict[str, Any], running: Mapping[str, int]) -> None:
    """Print what was recorded, and what was repaired or lost."""
    summary, processes = header["summary"], header["processes"]
    of = f"{counted(len(processes), 'processes')} ({counted(summary['threads'], 'threads')})"
    size = f"file size {output.stat().st_size:,} bytes"
    if not processes:
        peak = "no request is in the sample: a smaller --sample records more"
    elif any(process["sample"] for process in processes):
        peak = f"{asked_for(output)} were asked for"
    else:
        peak = f"peak live memory {summary['peak_live_bytes']:,} bytes"
    tell(f"{output}: {counted(summary['events'], 'events')} from {of}; {peak}; {size}")
    if "recorded" in header:
        tell(f"  {when_recorded(header['recorded'])}")
    tell_notes(sum((Counter(each["notes"]) for each in processes), Counter(running)))


def asked_for(output: Path) -> str:
    """The bytes that a sample stands for."""
    from heapwright.traces.format import TraceFile
    from heapwright.traces.sampling import requested

    with TraceFile(output) as file:
        estimate = requested(file)
    return about(estimate.value, estimate.error)


def still_running(ring: Path) -> Counter[str]:
    """The number of processes that still map the ring, whether or not they have made a call."""
    from heapwright.lab.recorded import users

    return +Counter({"processes still running, whose further calls are not recorded": len(users(ring))})
