"""Recording a run: every event of the allocator, and every change of the machine's state."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from heapwright.allocator import Allocator
from heapwright.collections import Operation, Runtime
from heapwright.collections.runtime import NOBODY
from heapwright.layout import Struct
from heapwright.machine import Fault
from heapwright.machine.accesses import access_at_work
from heapwright.machine.page_table import V
from heapwright.machine.source import MACHINERY, Place, frames_in_call, line_of_caller
from heapwright.programs.run import ProgramResult, run_program
from heapwright.programs.user import Main
from heapwright.stepper.events import ROW, Call, Kind, Log
from heapwright.stepper.state import Bounds, Change, Owned, State, difference

KINDS = {"load": Kind.LOAD, "store": Kind.STORE, "fill": Kind.FILL, "copy": Kind.COPY}
INSPECTIONS = {"check", "walk", "lists", "survey"}
MAX_BYTES = 512 << 20  # of memory that a recording may take
TELL_EVERY = 1 << 14  # events between two reports of progress
ABOVE = 3  # frames of the machinery above an access: access_at_work, see_access, View._tell


@dataclass
class Recording:
    """A run that is over: its events, its calls, and how the machine changed at each event."""

    spec: str
    functions: Any  # the allocator's
    words: int  # the address of its own words
    page: int
    heap_start: int
    log: Log = field(default_factory=Log)
    calls: list[Call] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)  # by event; a store's new value is in the log
    notes: dict[int, str] = field(default_factory=dict)  # kernel calls and faults, in words, by event
    output: list[tuple[int, str]] = field(default_factory=list)  # the program's lines, with the events before each
    outcome: ProgramResult | None = None  # None if the recording stopped before the program
    stopped: str = ""  # why, in that case
    fault: Fault | None = None


class Enough(KeyboardInterrupt):
    """The recording is full; like an interrupt, it ends the program wherever it is."""


def record(
    main: Main,
    allocator: str | Allocator,
    arguments: Iterable[str],
    *,
    tell: Callable[[int], None] = lambda events: None,
    max_bytes: int = MAX_BYTES,
    **options: Any,
) -> Recording:
    """Run a program to its end, an interrupt, or the limit of memory; the options are those of `run_program`."""
    recorder = Recorder(tell, max_bytes)
    try:
        outcome = run_program(main, allocator, arguments, watcher=recorder, write=recorder.hear, **options)
    except KeyboardInterrupt:
        outcome = None
    recorder.finish(outcome)
    return recorder.recording


class Recorder:
    """Watches the first process of a program: those that it forks are not recorded."""

    recording: Recording
    state: State
    runtime: Runtime

    def __init__(self, tell: Callable[[int], None], max_bytes: int):
        self.tell, self.max_bytes, self.bytes = tell, max_bytes, 0
        self.is_over = False
        self.unwatch: Callable[[], None] = lambda: None  # ends the observation of accesses
        self.inside: Call | None = None  # the call that runs
        self.unsealed: Call | None = None  # a call that returned, and whose block may not be handed out yet
        self.stacks: dict[tuple[tuple[CodeType, int], ...], int] = {(): 0}

    # --- the program's side

    def enter(self, runtime: Runtime) -> None:
        if runtime.parent is not None:
            return
        heap = self.heap = runtime.heap
        self.runtime, self.process = runtime, heap.process
        functions = getattr(heap.allocator, "module", heap.allocator)
        spec = getattr(heap.allocator, "spec", functions.__name__)
        self.recording = Recording(spec, functions, heap.words, self.process.space.page, self.process.heap_start)
        self.state, self.log = State(self.recording.page), self.recording.log
        self.process.visitors.append(self)

    def done(self, runtime: Runtime, operation: Operation) -> None:
        if runtime is self.runtime and self.unsealed:
            self.unsealed.owner = operation.owner
            self.seal()

    def hear(self, line: str) -> None:
        self.recording.output.append((len(self.log), line))

    # --- calls

    def entered(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self.process.thread.call is not None or name in INSPECTIONS or self.is_over:
            return
        self.watch()
        self.seal()
        first = self.add(Kind.CALL)
        self.inside = Call(len(self.recording.calls) + 1, name, arguments, first, first, line_of_caller())
        self.recording.calls.append(self.inside)
        self.note(first)

    def left(self, name: str, result: Any) -> None:
        call = self.inside
        if self.process.thread.call is not None or name in INSPECTIONS or call is None:
            return
        call.last, call.is_over = self.add(Kind.RETURN), True
        call.result = result if isinstance(result, int) else None
        self.inside, self.unsealed = None, call
        self.unwatch()
        self.unwatch = lambda: None

    def watch(self) -> None:
        """Observe each access, which takes long: not those of inspections, nor the program's own."""
        self.unwatch()
        self.unwatch = self.process.observe(self.see_access, self.see_call)

    def seal(self) -> None:
        """Note what a call changed, now that its block is handed out or taken back."""
        call, self.unsealed = self.unsealed, None
        if call is None:
            return
        change = self.note(call.last)
        addresses = {call.arguments[0] if call.arguments else 0, call.result or 0}
        for address in sorted(addresses & (self.state.live.keys() | self.heap.live.keys())):
            self.change_live(change, address)
        self.keep(call.last, change)

    def change_live(self, change: Change, address: int) -> None:
        block = self.heap.live.get(address)
        owner = self.runtime.owners.get(address, NOBODY).name
        old, new = self.state.live.get(address), Owned(copy(block), owner) if block else None
        if old == new:
            return
        change.live.append((address, old, new))
        if new:
            self.forget(change, address, new.block.size)
            self.state.live[address] = new
        else:
            del self.state.live[address]

    def forget(self, change: Change, address: int, size: int) -> None:
        """Forget the structs in memory that was handed out: it is the program's."""
        structs = self.state.structs
        for base in [base for base in structs if address <= base < address + size]:
            change.structs.append((base, structs.pop(base), None))

    # --- events

    def add(self, kind: Kind, address: int = 0, size: int = 0, value: int = 0, old: int = 0, *rest: int) -> int:
        number = self.log.add(kind, address, size, value, old, *(rest or (0, 0, 0)))
        if number % TELL_EVERY == 0:
            self.tell(number)
        if number * ROW + self.bytes > self.max_bytes:
            self.is_over = True
            raise Enough
        return number

    def see_access(self, operation: str, address: int, size: int, value: int, who: str) -> None:
        if who != "allocator" or self.inside is None or self.is_over:
            return
        access = access_at_work(0, operation, address, size, ABOVE)
        kind, old = KINDS[operation], 0
        if kind == Kind.STORE:
            old = int.from_bytes(self.state.peek(address, size), "little", signed=size == 8)
            self.state.store(address, size, value)
        struct = self.log.struct_number(access.owner)
        number = self.add(kind, address, size, value, old, self.stack(), struct, access.base)
        change = Change()
        if access.owner:
            self.learn(change, access.base, access.owner)
        if kind in {Kind.FILL, Kind.COPY}:
            self.sync(change, range(address // self.state.page, (address + size - 1) // self.state.page + 1))
        self.keep(number, change)

    def learn(self, change: Change, base: int, struct: type[Struct]) -> None:
        known = self.state.structs.get(base)
        if known is not struct:
            change.structs.append((base, known, struct))
            self.state.structs[base] = struct

    def see_call(self, name: str, arguments: tuple[int, ...], result: int, who: str) -> None:
        if who != "allocator" or self.inside is None or self.is_over or arguments == (0,):
            return
        given = ", ".join(f"{a:#x}" if a > 1 << 32 else f"{a:,}" for a in arguments)
        number = self.add(Kind.KERNEL, max(result, 0), 0, result, 0, self.stack(), 0, 0)
        said = f"{name}({given}) -> {result:#x}" if result != -1 else f"{name}({given}) failed"
        self.recording.notes[number] = said
        self.note(number)

    def stack(self) -> int:
        """The number of the allocator's lines that run."""
        frames = [frame for frame in frames_in_call(sys._getframe(2)) if frame.f_code.co_filename not in MACHINERY]
        key = tuple((frame.f_code, frame.f_lineno) for frame in frames)
        number = self.stacks.get(key)
        if number is None:
            lines = [Place(code.co_filename, line, code.co_qualname) for code, line in reversed(key)]
            number = self.stacks[key] = self.log.add_stack(tuple(lines))
        return number

    # --- changes of the state

    def note(self, number: int) -> Change:
        """Note all that changed in the machine, and keep it as the change of an event."""
        change, bounds = Change(), self.bounds()
        if bounds != self.state.bounds:
            change.bounds = self.state.bounds, bounds
            self.state.bounds = bounds
            mapped = (address // self.state.page for address, entry in self.process.space.table.pages() if entry & V)
            self.sync(change, {*self.state.pages, *mapped})
        else:
            self.sync(change, list(self.process.space.pages))
        self.keep(number, change)
        return change

    def bounds(self) -> Bounds:
        process, thread = self.process, self.process.thread
        extents = tuple(self.heap.extents())
        return Bounds(process.brk, extents, process.memory.held(), thread.id, tuple(thread.words))

    def sync(self, change: Change, numbers: Iterable[int]) -> None:
        """Note the pages with these numbers whose contents changed."""
        pages, zeros, reached = self.state.pages, self.state.zeros, self.process.space.pages
        for number in numbers:
            page = reached.get(number)
            new = page[1][0] if page else self.process.peek(number * self.state.page, self.state.page)
            old = pages.get(number, zeros)
            if new != old:
                change.pages[number] = difference(old, new)
                pages[number] = bytearray(new)

    def keep(self, number: int, change: Change) -> None:
        if change and self.recording.changes.get(number) is not change:
            self.recording.changes[number] = change
            self.bytes += change.size + 100

    # --- the end

    def finish(self, outcome: ProgramResult | None) -> None:
        recording = self.recording
        if outcome is None:
            recording.stopped = f"it has {self.max_bytes >> 20} MiB" if self.is_over else "it was interrupted"
        self.is_over = True
        self.process.visitors.remove(self)
        self.seal()
        if self.inside:
            self.inside.last = len(self.log) - 1
        recording.outcome = outcome
        if outcome and outcome.fault:
            self.add_fault(outcome.fault)

    def add_fault(self, fault: Fault) -> None:
        """The fault is the last event, in the call that was running."""
        stack = self.log.add_stack((fault.place,)) if fault.place and self.inside else 0
        number = self.log.add(Kind.FAULT, max(fault.address, 0), 0, 0, 0, stack, 0, 0)
        self.recording.notes[number], self.recording.fault = str(fault), fault
        self.note(number)
        if self.inside:
            self.inside.last = number
