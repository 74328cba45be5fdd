"""The command line: one module per command, whose docstring is the help text."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from io import TextIOBase, TextIOWrapper

import click

from heapwright.cli.terminal import progress
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


def main() -> None:
    """Run the command line. Errors that the user can correct are reported in one line, with exit status 2."""
    guard_streams()
    arguments = sys.argv[1:] or ["--help"]
    try:
        sys.exit(group(arguments, standalone_mode=False))  # click returns the code of an Exit
    except click.UsageError as error:
        complain(wrong_use(error))
        sys.exit(2)
    except (click.ClickException, UserError) as error:
        progress("")
        complain(getattr(error, "message", None) or str(error))
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as stop:
        where = str(stop.__cause__ or stop)  # the machine adds where it stopped the allocator
        complain(f"interrupted{where and ' '}{where}")
        sys.exit(130)
    except MemoryError:
        complain("not enough memory for this command")
        sys.exit(2)
    except OSError as error:
        leave_output(error)


def wrong_use(error: click.UsageError) -> str:
    """The message of a usage error, and the command that prints the right help text."""
    names = names_of(error.ctx) or [name for name in sys.argv[1:2] if name in COMMANDS]
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message}; see `{' '.join(['heapwright', *names])} --help`"


def names_of(context: click.Context | None) -> list[str]:
    return [*names_of(context.parent), context.info_name or ""] if context and context.parent else []


def complain(line: str) -> None:
    """Report an error in one line. Unprintable characters, which file names may contain, are escaped."""
    escaped = (each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in line)
    click.echo(f"heapwright: {''.join(escaped)}", err=True)


def leave_output(error: OSError) -> None:
    """Report that the output cannot be written, and exit. Click itself handles a pipe whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would flush again at exit
    complain(f"{error.filename or 'standard output'}: {error.strerror}")
    sys.exit(2)


# --- closed streams


class ClosedOutput(TextIOBase):
    """Standard output of a process that was started with it closed: every write fails."""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")

    def fileno(self) -> int:
        return 1


def guard_streams() -> None:
    """Replace closed standard streams, so that no file opened later gets their descriptors."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor
    sys.stdout = sys.stdout or ClosedOutput()
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for the whole process
    for stream in sys.stdout, sys.stderr:
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no text; terminals may lack UTF-8
