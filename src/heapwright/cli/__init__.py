"""The command line: one command per file, its docstring is its help."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from heapwright.cli.terminal import progress
from heapwright.errors import Mendable

COMMANDS = {
    "simulate": "Run a user program or a trace in the simulated process, everything checked.",
    "run": "Run a real program on a compiled allocator.",
    "record": "Record every allocation of a real program.",
    "compare": "Replay a recording on several allocators, side by side.",
    "convert": "Write a trace as another kind, for or from other tools.",
    "synthesize": "Make up a trace, where no program can be recorded.",
    "check": "Prove an allocator: the conformance suite, for yours too.",
    "build": "Compile an allocator to a library to keep.",
    "bench": "Measure allocators against each other and those installed.",
    "allocators": "List the allocators that there are.",
    "doctor": "Say what this machine has and what is missing.",
}


class Commands(click.Group):
    """Loads a command's module only when it is called, so that --help is quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"heapwright.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="heapwright")
def group() -> None:
    """Heap allocators written once in Python: simulated, checked, drawn, and run under real programs.

    \b
    Try:
      heapwright simulate boxtest -a kr --step
      heapwright run -a kr -- python3 -c 'print(42)'
      heapwright record -o demo.hwt -- git --version && heapwright compare demo.hwt -a kr -a system

    Exit status: 0 done, 1 what was asked about does not hold, 2 wrong use; `run` and `record` give the
    program's own.
    """


def main() -> None:
    """The entry point: errors that a user can mend are one line and exit status 2."""
    try:
        sys.exit(group(standalone_mode=False))  # an Exit comes back as its code
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except (click.ClickException, Mendable) as error:
        progress("")
        click.echo(f"heapwright: {getattr(error, 'message', None) or error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("heapwright: interrupted", err=True)
        sys.exit(130)
    except OSError as error:
        leave_output(error)


def leave_output(error: OSError) -> None:
    """End in one line when what was asked for cannot be written; a reader that has gone is click's to handle."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try again at its end
    click.echo(f"heapwright: {error.filename or 'standard output'}: {error.strerror}", err=True)
    sys.exit(2)
