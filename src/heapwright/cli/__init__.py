"""The command line: one module per command, whose docstring is the help text."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOBase, TextIOWrapper

from heapwright.cli.terminal import progress, tell
from heapwright.errors import UserError


def main() -> None:
    """Run the command line. Errors that the user can correct are reported in one line, with exit status 2."""
    guard_streams()
    arguments = sys.argv[1:] or ["--help"]
    try:
        if usual := usual_recording(arguments):
            record_at_once(*usual)
        from heapwright.cli.commands import call

        sys.exit(call(arguments))
    except UserError as error:
        progress("")
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt as stop:
        where = str(stop)  # the machine adds where it stopped the allocator
        complain(f"interrupted{where and ' '}{where}")
        sys.exit(130)
    except MemoryError:
        complain("not enough memory for this command")
        sys.exit(2)
    except OSError as error:
        leave_output(error)


def usual_recording(arguments: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """The trace and the program of `record -o TRACE -- PROGRAM`; None for anything else, which needs click."""
    match arguments:
        case ["record", "-o" | "--output", trace, "--", _, *_] if trace and not os.path.isdir(trace):
            return trace, arguments[4:]
    return None


def record_at_once(trace: str, program: Sequence[str]) -> None:
    """Record a program, which starts 50 ms earlier without click, and end this process.

    The interpreter would take another 10 ms to take apart what it has imported.
    """
    from heapwright.cli.recording import record

    status = record(trace, program)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def complain(line: str) -> None:
    """Report an error in one line. Unprintable characters, which file names may contain, are escaped."""
    escaped = (each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in line)
    tell(f"heapwright: {''.join(escaped)}")


def leave_output(error: OSError) -> None:
    """Report that the output cannot be written, and exit. Nobody reads a report about a pipe whose reader has gone."""
    if error.errno == errno.EPIPE:
        os._exit(1)  # the interpreter would fail to flush again at exit
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
