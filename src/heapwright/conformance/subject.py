"""What is judged: one allocator, and how to begin a fresh heap of it."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from heapwright.allocator import Allocator, load
from heapwright.machine import Heap, start

OPTIONAL = ("usable_size", "realloc", "alloc_zeroed", "trim", "thread_exit", "fork_child")
FOLDER = "heapwright.allocators"
QUICK_SECONDS, SECONDS = 0.12, 20.0
PAGE = 1 << 16
ROOMY: Mapping[str, Any] = {"frames": 1 << 12, "page": PAGE, "maxva": (1 << 32) + 2 * PAGE}  # first mapping at 64 MiB

Item = TypeVar("Item")


class Subject:
    """An allocator by name, path or stack, and how hard to try.

    `is_quick` plays few and short stories; `seconds` of processor time is what one check may take, unless something
    is found; `patience` is how many seconds a failing story may take to shorten, and `budget` how many loads and
    stores a call may make.
    """

    def __init__(
        self,
        spec: str,
        is_quick: bool = True,
        *,
        seconds: float | None = None,
        patience: float = 4.0,
        budget: int = 1_000_000,
    ):
        self.spec, self.is_quick, self.patience, self.budget = spec, is_quick, patience, budget
        self.seconds = (QUICK_SECONDS if is_quick else SECONDS) if seconds is None else seconds
        self.allocator: Allocator = load(spec)

    def heap(self, **options: Any) -> Heap:
        """A heap in a new process of a new machine; the options are those of `heapwright.machine.start`."""
        return start(self.allocator, **{"budget": self.budget, **options})

    def in_time(self, items: Iterable[Item], least: int = 1) -> Iterator[Item]:
        """The first items, and the others until the processor time of one check is over."""
        until = time.process_time() + self.seconds
        for number, item in enumerate(items, 1):
            yield item
            if number >= least and time.process_time() > until:
                return

    @cached_property
    def traits(self) -> frozenset[str]:
        """What the allocator defines of what is optional, and "threads" if many may call it."""
        found = {name for name in OPTIONAL if any(hasattr(part, name) for part in self.allocator.parts)}
        if self.allocator.is_threaded:
            found.add("threads")
        return frozenset(found)

    def constant(self, name: str, default: Any) -> Any:
        """What the uppermost module of the stack that says something about `name` says."""
        return next((getattr(part, name) for part in self.allocator.parts if hasattr(part, name)), default)

    @cached_property
    def modules(self) -> tuple[ModuleType, ...]:
        """The modules of the stack, then the siblings that they take functions and structs from."""
        found = {part.__name__: part for part in self.allocator.parts}
        waiting = list(found.values())
        while waiting:
            for module in siblings(waiting.pop()):
                if module.__name__ not in found:
                    found[module.__name__] = module
                    waiting.append(module)
        return tuple(found.values())

    @property
    def sources(self) -> tuple[Path, ...]:
        return tuple(Path(module.__file__) for module in self.modules if module.__file__)

    def __repr__(self) -> str:
        return f"Subject({self.spec!r})"


def siblings(module: ModuleType) -> list[ModuleType]:
    """The allocator modules that a module takes things from, or names."""
    found = {}
    for thing in vars(module).values():
        name = thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", None)
        if isinstance(name, str) and name.startswith(f"{FOLDER}.") and name in sys.modules:
            found[name] = sys.modules[name]
    return list(found.values())
