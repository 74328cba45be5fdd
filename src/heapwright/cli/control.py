"""`heapwright control`: start or stop a recording while the program runs."""

from __future__ import annotations

from pathlib import Path

import click

from heapwright.files import check_output, written_whole

FILE = click.argument("file", type=click.Path(path_type=Path))
HEADER = Path(__file__).parent.parent / "native" / "interface" / "recording.h"


@click.group(no_args_is_help=False)
def command() -> None:
    """Start or stop a recording while the program runs.

    \b
    heapwright record --control /tmp/server -o server.hwt -- ./server &
    heapwright control start /tmp/server
    heapwright control stop /tmp/server

    FILE is the one that `record --control` names. Recording starts and stops for all processes of the run, as often as
    you like. Blocks from before a start are unknown: their frees are left out. In a pause, the program runs at almost
    its full speed.

    The program can do the same: `with heapwright.recording():` in Python, `heapwright_recording_start()` in C.
    """


@command.command()
@FILE
def start(file: Path) -> None:
    """Record all calls from now on."""
    from heapwright.lab.control import switch

    click.echo(f"{file}: {'recording' if switch(file, True) else 'it is being recorded already'}")


@command.command()
@FILE
def stop(file: Path) -> None:
    """Record no calls until the next start."""
    from heapwright.lab.control import switch

    click.echo(f"{file}: {'paused' if switch(file, False) else 'it is paused already'}")


@command.command()
@FILE
def status(file: Path) -> None:
    """Say whether calls are recorded."""
    from heapwright.lab.control import is_recording

    click.echo(f"{file}: {'recording' if is_recording(file) else 'paused'}")


@command.command()
@click.argument("output", metavar="FILE.h", type=click.Path(dir_okay=False, path_type=Path))
def header(output: Path) -> None:
    """Write the C header of the functions that start and stop recording from within the program."""
    check_output(output)
    with written_whole(output) as file:
        file.write(HEADER.read_bytes())
    click.echo(f"{output}: C header")
