"""Checks, and the list of all of them."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapwright.conformance.story import Broken, told
from heapwright.machine.arithmetic import look_at_numbers

if TYPE_CHECKING:
    from heapwright.conformance.subject import Subject

Function = Callable[["Subject"], "str | None"]  # raises Broken or NotApplicable; may return a figure to print


class NotApplicable(unittest.SkipTest):
    """The check does not apply to this allocator, or cannot run here; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Check:
    """One named property of a heap. Calling it on a subject returns a figure or raises an error.

    The error is `Broken` or `NotApplicable`, whatever the allocator does.
    """

    name: str
    requirement: str
    function: Function
    traits: frozenset[str]  # what the check needs of an allocator: names of `Subject.traits`
    is_slow: bool

    def __call__(self, subject: Subject) -> str | None:
        missing = self.traits - subject.traits
        if missing:
            raise NotApplicable(f"it has no {', '.join(sorted(missing))}")
        look_at_numbers(subject.allocator)  # now, so that the first check need not spend its time on it
        try:
            return self.function(subject)
        except (Broken, NotApplicable):
            raise
        except Exception as error:
            raise told(error) from error

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
