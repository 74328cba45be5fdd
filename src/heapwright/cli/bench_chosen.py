"""What `heapwright bench` is to measure: its mallocs, its workloads and its programs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.options import refuse_idle
from heapwright.cli.terminal import progress
from heapwright.errors import suggestion

if TYPE_CHECKING:
    from heapwright.lab.bench import Row
    from heapwright.lab.contestant import Contestant
    from heapwright.lab.programs import PreparedProgram, Program


def threads_of(text: str) -> tuple[int, ...]:
    from heapwright.native.jobs.bench_job import MAX_THREADS

    counts = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if not all(1 <= n <= MAX_THREADS for n in counts):
        raise click.ClickException(f"--threads takes numbers from 1 to {MAX_THREADS}, such as 1,2; not '{text}'")
    return tuple(dict.fromkeys(counts))


def chosen_contestants(allocators: tuple[str, ...], against: tuple[str, ...], peers: bool) -> list[Contestant]:
    """`system`, then those of -a or all of heapwright's, then the installed peers, then those of --against."""
    from heapwright.allocators import ALLOCATORS
    from heapwright.lab.machine_facts import installed_peers
    from heapwright.lab.naming import SYSTEM, contestants

    return contestants((SYSTEM, *(allocators or ALLOCATORS), *(installed_peers() if peers else ()), *against))


@dataclass
class Chosen:
    """The rows to measure, the programs that are not installed, and why others have no inputs, one line each."""

    rows: list[Row]
    missing: list[Program]
    failures: list[str]


def chosen_rows(
    wanted: tuple[str, ...], threads: tuple[int, ...], processes: bool, scale: float, folder: Path
) -> Chosen:
    """Generate the inputs and choose the rows. Raises ClickException if none is left."""
    from heapwright.lab.program_list import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS, apart, expand

    native = expand(tuple(each for each in WORKLOADS if is_wanted(each, wanted)), threads, scale)
    programs = [each for each in PROGRAMS if is_wanted(each, wanted)]
    missing = [each for each in programs if not each.is_installed]
    ready, failures = prepared([each for each in programs if each.is_installed], scale, folder)
    rows: list[Row] = [*native, *(apart(native) if processes else []), *ready]
    if not rows:
        raise click.ClickException("; ".join([*failures, *filter(None, [install_line(missing)])]))
    return Chosen(rows, missing, failures)


def install_line(missing: Sequence[Program]) -> str:
    """One line with the programs that are not installed, and the command that installs them; "" if none is missing."""
    packages = dict.fromkeys(package for each in missing for package in each.debian.split())
    names = ", ".join(each.name for each in missing)
    return f"not installed: {names}; on Debian: apt-get install {' '.join(packages)}" if missing else ""


def prepared(programs: Sequence[Program], scale: float, folder: Path) -> tuple[list[PreparedProgram], list[str]]:
    """The programs whose inputs could be generated, and for each other one a line that says why not."""
    from heapwright.lab.programs import InputError, PreparedProgram

    found, failures = [], []
    for each in programs:
        try:
            progress(f"inputs for {each.name}")
            found.append(PreparedProgram(each, folder, scale))
        except InputError as error:
            shutil.rmtree(folder / each.name, ignore_errors=True)  # half of the inputs must not fill the disk
            failures.append(str(error))
    return found, failures


def check_threads(wanted: tuple[str, ...], threads: tuple[int, ...], processes: bool) -> None:
    """Refuse thread counts and --processes if no chosen workload can use them."""
    from heapwright.lab.program_list import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS, apart, expand

    workloads = tuple(each for each in WORKLOADS if is_wanted(each, wanted))
    if not any(each.is_threaded for each in workloads):
        refuse_idle("for workloads without threads", "threads", "processes")
    rows = expand(workloads, threads, 1.0)
    if processes and not apart(rows):
        refuse_idle("if no workload has several threads that are independent of each other", "processes")
    if not rows and not any(is_wanted(each, wanted) for each in PROGRAMS):
        raise click.ClickException(f"no chosen workload runs with --threads {', '.join(map(str, threads))}")


def check_share(wanted: tuple[str, ...]) -> None:
    """Refuse --share if no program is chosen or perf is missing."""
    from heapwright.lab.program_list import PROGRAMS
    from heapwright.lab.share import is_measurable

    if not any(is_wanted(each, wanted) for each in PROGRAMS):
        refuse_idle("for workloads: only programs have a share of malloc", "share")
    if not is_measurable():
        raise click.ClickException("--share needs perf: apt-get install linux-perf (Debian)")


def check_names(wanted: tuple[str, ...]) -> None:
    known = names_known()
    for name in wanted:
        if name not in known:
            hint = suggestion(name, known, otherwise="`heapwright bench --list` names them all")
            raise click.ClickException(f"no workload is named '{name}': {hint}")


def names_known() -> list[str]:
    from heapwright.lab.program_list import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS

    return list(dict.fromkeys(name for each in (*WORKLOADS, *PROGRAMS) for name in (each.name, each.group)))


def is_wanted(each: Any, wanted: tuple[str, ...]) -> bool:
    return not wanted or each.name in wanted or each.group in wanted


def list_workloads() -> None:
    from heapwright.lab.program_list import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS

    for each in (*WORKLOADS, *PROGRAMS):
        click.echo(f"{each.group:9} {each.name}")
