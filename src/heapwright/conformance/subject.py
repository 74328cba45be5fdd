"""The subject of the checks: one allocator, and how to start a fresh heap of it."""

from __future__ import annotations

import inspect
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from heapwright.allocator import Allocator, load, root_of
from heapwright.machine import Heap, start

OPTIONAL = ("usable_size", "realloc", "alloc_zeroed", "trim", "thread_exit", "fork_child")
FOLDER = "heapwright.allocators"
QUICK_SECONDS, SECONDS = 0.12, 20.0
SEEDS = 1 << 32  # larger than the numbers that checks pass to `rng`
PAGE = 1 << 16
ROOMY: Mapping[str, Any] = {"frames": 1 << 12, "page": PAGE, "maxva": (1 << 32) + 2 * PAGE}  # first mapping at 64 MiB

Item = TypeVar("Item")


class Subject:
    """An allocator by name, path or stack, and how hard to try.

    `is_quick` plays few and short stories. `seconds` of processor time limit one check, unless it finds something.
    `patience` is the time in seconds to shorten a failing story, `budget` the number of loads and stores per call.
    Another `seed` makes other stories. `causes` are the causes found so far, each with the name of the check that
    found it; their stories need not be shortened again.
    """

    def __init__(
        self,
        spec: str,
        is_quick: bool = True,
        *,
        seconds: float | None = None,
        patience: float = 4.0,
        budget: int = 1_000_000,
        seed: int = 0,
    ):
        self.spec, self.is_quick, self.patience, self.budget = spec, is_quick, patience, budget
        self.seed, self.causes = seed, dict[str, str]()
        self.seconds = (QUICK_SECONDS if is_quick else SECONDS) if seconds is None else seconds
        self.allocator: Allocator = load(spec)

    def heap(self, **options: Any) -> Heap:
        """A heap in a new process of a new machine; the options are those of `heapwright.machine.start`."""
        return start(self.allocator, **{"budget": self.budget, **options})

    def rng(self, number: int) -> random.Random:
        """Random choices that depend on the seed and on a number, which differs from check to check."""
        return random.Random(number + SEEDS * self.seed)

    def in_time(self, items: Iterable[Item], minimum: int = 1) -> Iterator[Item]:
        """The first `minimum` items, and then others until the processor time of one check is over."""
        until = time.process_time() + self.seconds
        for number, item in enumerate(items, 1):
            yield item
            if number >= minimum and time.process_time() > until:
                return

    @cached_property
    def traits(self) -> frozenset[str]:
        """The optional functions that the allocator defines, and "threads" if many threads may call it."""
        found = {name for name in OPTIONAL if any(hasattr(part, name) for part in self.allocator.parts)}
        if self.allocator.is_threaded:
            found.add("threads")
        return frozenset(found)

    def constant(self, name: str, default: Any) -> Any:
        """The value of `name` in the highest module of the stack that defines it."""
        return next((getattr(part, name) for part in self.allocator.parts if hasattr(part, name)), default)

    @cached_property
    def modules(self) -> tuple[ModuleType, ...]:
        """The modules of the stack, then the sibling modules that they import functions and structs from."""
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
    """The allocator modules that a module imports from: shared ones, and rooms of a user's package."""
    found, rooms = {}, f"{root_of(module.__name__)}."
    for thing in vars(module).values():
        name = thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", None)
        if isinstance(name, str) and name.startswith((f"{FOLDER}.", rooms)) and name in sys.modules:
            found[name] = sys.modules[name]
    return list(found.values())
