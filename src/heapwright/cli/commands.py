"""The commands, and how they are called: what the command line needs click for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from heapwright.errors import UserError

COMMANDS = {
    "simulate": "Step through an allocator: run a program with every access checked.",
    "run": "Run a real program on an allocator of your choice.",
    "record": "Record every allocation of a real program.",
    "attach": "Record every allocation of a program that runs already.",
    "control": "Start or stop a recording while the program runs.",
    "compare": "Compare mallocs on a recording: time and memory, side by side.",
    "advise": "Find the malloc and the settings that suit a program, and prove it.",
    "smallest": "Find the smallest heap in which a recording runs, for each malloc.",
    "blame": "Show which live blocks hold back a heap's memory, or why a small heap fails.",
    "diverge": "Find the first request that two mallocs serve at different places.",
    "report": "Report what a recorded program asked for, who asked, and when.",
    "inspect": "Explain where the memory of a running program is.",
    "convert": "Convert a trace to or from the format of another tool.",
    "trace": "Show what a trace holds, cut a part out of it, or merge several.",
    "synthesize": "Generate a trace from a built-in workload or a table of sizes.",
    "check": "Test an allocator, including your own, with the conformance suite.",
    "grade": "Grade a student's allocator, in a sandbox, by fixed rules.",
    "build": "Compile an allocator to a library, or show its machine code.",
    "bench": "Benchmark allocators against each other and the installed mallocs.",
    "allocators": "List the allocators, or explain one.",
    "doctor": "Check whether this machine has what heapwright needs.",
}


class Commands(click.Group):
    """A group that imports a command's module only when the command is called, so that `--help` is quick."""

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
      heapwright simulate boxtest --step
      heapwright run --stats -- python3 -c 'print(42)'
      heapwright record -o demo.hwt -- git --version && heapwright compare demo.hwt

    Exit status: 0 success, 1 a check failed or something is damaged, 2 wrong usage. `run` and `record` return the
    exit status of the program.
    """


def call(arguments: Sequence[str]) -> int:
    """Call a command. Returns its exit status. Raises UserError for wrong usage, KeyboardInterrupt after Ctrl-C."""
    try:
        return int(group(list(arguments), standalone_mode=False) or 0)  # click returns the code of an Exit
    except click.UsageError as error:
        raise UserError(wrong_use(error)) from error
    except click.ClickException as error:
        raise UserError(error.message) from error
    except click.Abort as stop:
        raise KeyboardInterrupt(*(stop.__cause__ or stop).args) from None


def wrong_use(error: click.UsageError) -> str:
    """The message of a usage error, and the command that prints the right help text."""
    names = names_of(error.ctx) or [name for name in sys.argv[1:2] if name in COMMANDS]
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message}; see `{' '.join(['heapwright', *names])} --help`"


def names_of(context: click.Context | None) -> list[str]:
    return [*names_of(context.parent), context.info_name or ""] if context and context.parent else []
