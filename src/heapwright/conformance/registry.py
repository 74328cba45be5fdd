"""What a check is, and the list of all of them."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heapwright.conformance.subject import Subject

Function = Callable[["Subject"], "str | None"]  # raises Broken or NotApplicable; may return a figure worth printing


class NotApplicable(unittest.SkipTest):
    """A check that has nothing to say about this allocator, or cannot be made here; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Check:
    """One named property of a heap. Calling it on a subject returns a figure, or raises what is wrong."""

    name: str
    requirement: str
    function: Function
    traits: frozenset[str]  # what an allocator must have for it: names of `Subject.traits`
    is_slow: bool

    def __call__(self, subject: Subject) -> str | None:
        missing = self.traits - subject.traits
        if missing:
            raise NotApplicable(f"it has no {', '.join(sorted(missing))}")
        return self.function(subject)

    def __str__(self) -> str:
        return self.name


CHECKS: dict[str, Check] = {}


def check(
    name: str, requirement: str, *, traits: Iterable[str] = (), is_slow: bool = False
) -> Callable[[Function], Function]:
    """Register a function as a check."""

    def register(function: Function) -> Function:
        if name in CHECKS:
            raise ValueError(f"two checks are named '{name}'")
        CHECKS[name] = Check(name, requirement, function, frozenset(traits), is_slow)
        return function

    return register
