"""Running a user program in a new process, and its result."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

from heapwright.allocator import Allocator, load
from heapwright.collections import Runtime, Watcher, serve
from heapwright.collections.leaks import Leak, find_leaks
from heapwright.errors import UserError, suggestion
from heapwright.machine import Fault, Heap, KernelPanic
from heapwright.programs import PROGRAMS
from heapwright.programs.user import CRASHED, Args, Ending, Main, run_to_end

TEXTS = 16384  # bytes of the image for literals


class UnknownProgram(UserError):
    """No program has that name; the text, one line, suggests a similar name."""


@dataclass
class ProgramResult:
    """The output of a program, its end, and the state of its heap then; bytes are requested bytes."""

    output: list[str]
    exit_code: int = CRASHED
    fault: Fault | None = None
    panic: str = ""  # of the kernel
    is_judged: bool = False  # whether leaks were searched for: not after `exit`, a panic or a fault
    leaks: list[Leak] = field(default_factory=list)
    operations: int = 0
    live_bytes: int = 0
    live_blocks: int = 0
    peak_bytes: int = 0
    heap_bytes: int = 0
    peak_heap_bytes: int = 0
    stats: dict[str, Any] = field(default_factory=dict)  # the allocator's statistics


def find_program(name: str) -> Main:
    """The `main` of a program, by name or by the path of a Python file."""
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise UnknownProgram(f"there is no file {name}")
        return main_in(name)
    if name not in PROGRAMS:
        raise UnknownProgram(f"no program is named '{name}': {suggestion(name, PROGRAMS)}")
    main: Main = import_module(f"heapwright.programs.{name}").main
    return main


def main_in(file: str) -> Main:
    try:
        main: Main | None = run_path(file).get("main")
    except Exception as error:
        raise UnknownProgram(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(main):
        raise UnknownProgram(f"{file} has no main(args)")
    return main


def run_program(
    program: str | Main,
    allocator: str | Allocator = "kr",
    arguments: Iterable[str] = (),
    *,
    sbrk_fails: int = 0,
    watcher: Watcher | None = None,
    write: Callable[[str], None] | None = None,
    **kernel: Any,
) -> ProgramResult:
    """Run a program, or a `main`, in a new process of a new machine; the options are those of `Kernel`.

    The `arguments` begin with the program's name. `sbrk_fails` is the number, from 1, of the first request for memory
    that the kernel refuses, and it refuses all that follow. `write` gets each line that the program prints.

    >>> from heapwright.collections import Vec
    >>> def main(args):
    ...     numbers = Vec.of([1, 2, 3])
    ...     numbers.push(4)
    >>> outcome = run_program(main, "kr")
    >>> outcome.exit_code, outcome.leaks, outcome.peak_bytes
    (0, [], 24)
    """
    main = find_program(program) if isinstance(program, str) else program
    argv = list(arguments) or [program if isinstance(program, str) else main.__module__]
    runtime = new_runtime(load(allocator) if isinstance(allocator, str) else allocator, **kernel)
    runtime.heap.process.kernel.calls.at(sbrk_fails)
    if watcher:
        runtime.watch(watcher)
    return run_main(main, argv, runtime, write)


def new_runtime(allocator: Allocator, **kernel: Any) -> Runtime:
    return Runtime(Heap.start(allocator, more_data=TEXTS, **kernel))


def run_main(main: Main, argv: list[str], runtime: Runtime, write: Callable[[str], None] | None) -> ProgramResult:
    outcome = ProgramResult([])

    def print_line(line: str) -> None:
        outcome.output.extend(line.split("\n"))
        if write:
            write(line)

    runtime.print = print_line
    try:
        with serve(runtime):
            ending = run_to_end(lambda: main(Args(argv)))
            collect_garbage(runtime)
        outcome.exit_code = ending.code
        judge(outcome, runtime, ending)
    except Fault as fault:
        outcome.fault = fault
    except KernelPanic as panic:
        outcome.panic = str(panic)
    runtime.end()
    measure(outcome, runtime)
    return outcome


def collect_garbage(runtime: Runtime) -> None:
    """Collect values in a cycle of Python objects, whose last reference never disappears by itself."""
    if runtime.heap.live and not runtime.ended:
        gc.collect()


def judge(outcome: ProgramResult, runtime: Runtime, ending: Ending) -> None:
    """Check the heap that a program leaves behind."""
    runtime.heap.check()
    outcome.stats = runtime.heap.survey()
    outcome.is_judged = ending.is_clean
    if ending.is_clean:
        outcome.leaks = find_leaks(runtime)


def measure(outcome: ProgramResult, runtime: Runtime) -> None:
    memory = runtime.heap.memory
    outcome.operations = runtime.operations
    outcome.live_bytes, outcome.live_blocks = runtime.live_bytes, len(runtime.heap.live)
    outcome.peak_bytes = runtime.peak_bytes
    outcome.heap_bytes, outcome.peak_heap_bytes = memory.held(), memory.peak_held()
