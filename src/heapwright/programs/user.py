"""The library of user programs: arguments, output, processes, statistics.

    def main(args: Args) -> int:
        println(f"Hello, {args.skip(1).next()}!")
        return 0

As in xv6rs, `main` returns the exit code, or raises `Fatal`, which prints `fatal:` and the text and exits with 1.
A failed `assert`, and any other exception, is a panic.
"""

from __future__ import annotations

import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from heapwright.collections import Panic, running, serve
from heapwright.machine import Fault, KernelPanic
from heapwright.machine.source import LIBRARY

Main = Callable[["Args"], int]
CRASHED = 1  # the exit code of a program that gave up, panicked or was killed


class Fatal(Exception):
    """`Err(text)`: the program gives up and drops its values."""


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
    """End the process at once: nothing is dropped, and all memory goes back to the kernel."""
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
    """The heap's statistics: the fields of `heapwright.stats.Stats`, with its size classes as a list."""
    return running().heap.survey()


# --- system calls by number

SYS_EXIT, SYS_WAIT, SYS_GETPID, SYS_SBRK = 2, 3, 11, 12  # kernel/syscall.h of xv6


def syscall(number: int, *arguments: int) -> int:
    """Make a system call by its number, as xv6's `usys` does; return -1 if it fails or there is no such call.

    SYS_WAIT returns the process id only. `fork` takes the child's function, so it has no number here. SYS_SBRK moves
    the break under the heap: the new memory belongs to the program, and an allocator must tolerate it. Unmapping live
    blocks is a fault.
    """
    process = running().heap.process
    match number, arguments:
        case 2, (code,):
            exit(code)
        case 3, ():
            return process.wait()[0]
        case 11, ():
            return process.pid
        case 12, (change,):
            return running().memory.sbrk(change)
    println(f"{process.pid}: unknown sys call {number}")
    return -1


# --- a test harness


def test_runner(*tests: Callable[[], object]) -> int:
    """Run test cases up to the first that fails, print the result of each, and return the exit code.

        def main(_: Args) -> int:
            return test_runner(box_integer, box_array)

    As in xv6rs, a failing case panics and ends the program. Source: xv6rs, user/src/lib.rs.
    """
    println(f"Running {len(tests)} tests")
    for test in tests:
        try:
            test()
        except (Fault, KernelPanic):
            raise
        except Exception as error:
            println(f"{test.__name__}...\t[failed]")
            println(f"failed: panicked at {place_of(error)}:\n{said(error)}")
            return CRASHED
        println(f"{test.__name__}...\t[ok]")
    println("all tests finished!")
    return 0


test_runner.__test__ = False  # type: ignore[attr-defined]  # the name would make pytest collect it


# --- running one


class Ending(NamedTuple):
    """How a program ended."""

    code: int
    is_clean: bool  # whether it dropped its values


def run_to_end(program: Callable[[], int]) -> Ending:
    """Call a program and return its exit code; print why it died, as xv6rs does.

    A `Fault` passes through, and so does quitting the debugger.
    """
    try:
        return Ending(program() or 0, True)
    except Fatal as error:
        println(f"fatal: {error}")
        return Ending(CRASHED, True)
    except Exited as error:
        running().end()
        return Ending(error.code, False)
    except (Fault, KernelPanic, BdbQuit):
        raise
    except Exception as error:
        running().end()
        println(f"panic: panicked at {place_of(error)}:\n{said(error)}")
        return Ending(CRASHED, False)


def place_of(error: BaseException) -> str:
    """The line of the program that panicked: the last one outside the collections and the machine."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename not in LIBRARY]
    return f"{short(frames[-1].filename)}:{frames[-1].lineno}"


def short(file: str) -> str:
    return file.rpartition("/")[2]


def said(error: BaseException) -> str:
    """The text of a panic; for an assertion without a text, the asserted expression."""
    if isinstance(error, AssertionError) and not error.args:
        line = traceback.extract_tb(error.__traceback__)[-1].line or ""
        return f"assertion failed: {line.removeprefix('assert ')}"
    return str(error) if isinstance(error, Panic | AssertionError) else f"{type(error).__name__}: {error}"
