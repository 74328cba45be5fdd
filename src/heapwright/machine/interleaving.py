"""A run of several threads as a table: thread, operation, field, value and line.

Only operations that other threads can notice have a row each: atomic operations, kernel calls, sleeping and waking, and
accesses to words that two threads touched. The operations in between are counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from heapwright.machine.accesses import Access
from heapwright.machine.threads import Task, Threads

WORD = 8
SMALL = 1 << 12  # larger numbers are shown as addresses


@dataclass(slots=True)
class Switch:
    """One operation of one thread, during one call of the allocator."""

    thread: str
    operation: str
    access: Access | None
    call: str
    name: str
    values: list[int] = field(default_factory=list)

    def text(self) -> str:
        values = [number(value) for value in self.values]
        if not values:
            return f"{self.operation} {self.name}".rstrip()
        if self.operation in ("load", "wait"):
            return f"{self.operation} {self.name} = {values[0]}"
        if self.operation == "compare_exchange" and len(values) == 1:
            return f"compare_exchange {self.name} = {values[0]}, not as expected"
        return f"{self.operation} {self.name} := {' -> '.join(values)}"


def number(value: int) -> str:
    return f"{value:#x}" if abs(value) >= SMALL else str(value)


class Interleaving:
    """The steps of a run, in order; `str` is the table."""

    def __init__(self) -> None:
        self.steps: list[Switch] = []
        self._touched: defaultdict[int, set[str]] = defaultdict(set)
        self._changed: set[int] = set()

    def add(self, threads: Threads, task: Task, operation: str, access: Access | None) -> None:
        name = threads.name(access) if access is not None else ""
        self.steps.append(Switch(task.name, operation, access, task.thread.describe_call(), name))
        if access is not None:
            self._touched[access.address // WORD].add(task.name)
            if access.changes:
                self._changed.add(access.address // WORD)

    def value(self, value: int) -> None:
        if self.steps:
            self.steps[-1].values.append(value)

    def matters(self, step: Switch) -> bool:
        """Whether another thread could notice the step."""
        access = step.access
        if access is None or access.is_atomic or step is self.steps[-1]:
            return True
        word = access.address // WORD
        return word in self._changed and len(self._touched[word]) > 1

    def rows(self) -> list[tuple[str, str, str]]:
        """(thread, what, where): a row for each step that matters, each call, and each group of steps that do not."""
        rows: list[tuple[str, str, str]] = []
        calls: dict[str, str] = {}
        silent = 0
        last = ""
        for step in self.steps:
            if not self.matters(step) and step.thread == last and step.call == calls[last]:
                silent += 1
                continue
            if silent:
                rows.append((last, f"    {silent} of its own", ""))
                silent = 0
            if step.call and calls.get(step.thread) != step.call:
                rows.append((step.thread, step.call, ""))
            calls[step.thread], last = step.call, step.thread
            if self.matters(step):
                rows.append((step.thread, f"  {step.text()}", source(step)))
            else:
                silent = 1
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        names = max((len(name) for name, _, _ in rows), default=0)
        texts = max((len(text) for _, text, _ in rows), default=0)
        lines, last = [], ""
        for name, text, where in rows:
            lines.append(f"{name if name != last else '':{names}}  {text:{texts}}  {where}".rstrip())
            last = name
        return "\n".join(lines)


def source(step: Switch) -> str:
    access = step.access
    return f"{access.place} in {access.place.function}" if access is not None else ""
