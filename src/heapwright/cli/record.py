"""`heapwright record`: every allocation of a real program, kept in a trace."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from heapwright.cli.launch import launch


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The trace.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(output: Path, command: tuple[str, ...]) -> None:
    """Run COMMAND and record each call of its malloc, of all its threads and children, to a trace.

    The program's own exit status is returned. A program that crashes or is killed leaves its recording whole.
    Python keeps small blocks to itself: record it with PYTHONMALLOC=malloc to see every one.

    \b
    heapwright record -o git.hwt -- git log
    PYTHONMALLOC=malloc heapwright record -o json.hwt -- python3 -m json.tool big.json
    """
    from heapwright.native.library import recorder_library

    library = recorder_library()
    if not output.absolute().parent.is_dir():
        raise click.ClickException(f"there is no folder {output.absolute().parent}")
    work = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.absolute().parent))
    try:
        status = launch(command, library, {"HEAPWRIGHT_RECORD": str(work)})
        keep(work, output)
    finally:
        remove_if_empty(work)
    raise click.exceptions.Exit(status)


def keep(work: Path, output: Path) -> None:
    """Turn the raw recordings into a trace; they are deleted only once it is written."""
    from heapwright.traces.format import write
    from heapwright.traces.recording import import_recordings

    raw = sorted(work.iterdir())
    if not raw:
        raise click.ClickException("the program made no call of malloc that can be seen: is it static, or setuid?")
    trace = import_recordings(raw)
    write(output, trace)
    for path in raw:
        path.unlink()
    summary = trace.summary()
    click.echo(
        f"{output}: {summary.events:,} events of {len(trace.processes)} processes and {summary.threads} threads, "
        f"at most {summary.peak_live_bytes:,} bytes live in one; {output.stat().st_size:,} bytes",
        err=True,
    )
    for sentence, count in trace.notes().items():
        click.echo(f"  {count:,} {sentence}", err=True)


def remove_if_empty(work: Path) -> None:
    try:
        work.rmdir()
    except OSError:
        click.echo(f"heapwright: the raw recordings are kept in {work}", err=True)
