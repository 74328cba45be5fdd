"""What user programs are written with: arguments, output, processes, statistics.

    def main(args: Args) -> int:
        println(f"Hello, {args.skip(1).next()}!")
        return 0

As in xv6rs, `main` returns the exit code, or raises `Fatal`, which prints `fatal:` and the text and exits with 1.
A failed `assert`, and any other exception, is a panic.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from heapwright.collections import Panic, Runtime, running, serve
from heapwright.machine import Fault, KernelPanic

Main = Callable[["Args"], int]
CRASHED = 1  # the exit code of a program that gave up, panicked or was killed


class Fatal(Exception):
    """`Err(text)`: the program gives up, and drops what it holds."""


class Exited(BaseException):
    """The program called `exit`."""

    def __init__(self, code: int):
        self.code = code


class Args:
    """The arguments, the program's name first."""

    def __init__(self, arguments: Iterable[str]):
        self._rest = list(arguments)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._rest:
            raise StopIteration
        return self._rest.pop(0)

    def next(self) -> str | None:
        """The next argument, if there is one."""
        return next(self, None)

    def skip(self, count: int) -> Args:
        del self._rest[:count]
        return self


def println(line: str = "") -> None:
    running().print(line)


def exit(code: int) -> NoReturn:
    """End the process here and now: nothing is dropped, all memory goes back to the kernel."""
    raise Exited(code)


def fork(child: Callable[[], int]) -> int:
    """Run a function in a child process, to its end; return the child's process id, or -1."""
    runtime = running().fork()
    if runtime is None:
        return -1
    with serve(runtime):
        ending = run_to_end(child)
    runtime.end()
    runtime.heap.process.exit(ending.code)
    return runtime.heap.process.pid


def wait() -> tuple[int, int]:
    """The process id and exit code of a child that has ended; (-1, -1) if there is none."""
    return running().heap.process.wait()


def stats() -> dict[str, Any]:
    """What the heap says of itself: the fields of `heapwright.stats.Stats`, its classes of sizes as a list."""
    return running().heap.survey()


# --- running one


class Ending(NamedTuple):
    """How a program came to its end."""

    code: int
    is_clean: bool  # whether it dropped what it held


def run_to_end(program: Callable[[], int]) -> Ending:
    """Call a program and give its exit code; say what it died of, as xv6rs does. A `Fault` passes through."""
    try:
        return Ending(program() or 0, True)
    except Fatal as error:
        println(f"fatal: {error}")
        return Ending(CRASHED, True)
    except Exited as error:
        running().end()
        return Ending(error.code, False)
    except (Fault, KernelPanic):
        raise
    except Exception as error:
        running().end()
        println(f"panic: panicked at {place_of(error)}:\n{said(error)}")
        return Ending(CRASHED, False)


def place_of(error: BaseException) -> str:
    """The line of the program at which it panicked: the last one outside the containers."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not is_container(each.filename)]
    return f"{short(frames[-1].filename)}:{frames[-1].lineno}"


def is_container(file: str) -> bool:
    return file.startswith(CONTAINERS)


def short(file: str) -> str:
    return file.rpartition("/")[2]


CONTAINERS = inspect.getfile(Runtime).rpartition("/")[0]


def said(error: BaseException) -> str:
    """The text of a panic; an assertion without one says what it asserted."""
    if isinstance(error, AssertionError) and not error.args:
        line = traceback.extract_tb(error.__traceback__)[-1].line or ""
        return f"assertion failed: {line.removeprefix('assert ')}"
    return str(error) if isinstance(error, Panic | AssertionError) else f"{type(error).__name__}: {error}"
