"""Undecorated functions, made callable from compiled code without touching their module."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, ModuleType

from numba.extending import register_jitable

_known: set[FunctionType] = set()


def given(function: FunctionType) -> None:
    """Say that a function has a compiled meaning of its own."""
    _known.add(function)


def portable(function: FunctionType) -> FunctionType:
    """Make a plain function, and all that it calls, callable from compiled code."""
    for each in reachable(function):
        if each not in _known:
            register_jitable(each)
            given(each)
    return function


def reachable(function: FunctionType) -> list[FunctionType]:
    """The plain functions that a function names, directly or through others, itself included."""
    seen: dict[FunctionType, None] = {}
    waiting = [function]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen[each] = None
            waiting += callees(each)
    return list(seen)


def callees(function: FunctionType) -> Iterator[FunctionType]:
    """Functions that it names, or members of a module that it names: `take(...)`, `inner.alloc(...)`."""
    names = function.__code__.co_names
    enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
    for found in (*map(function.__globals__.get, names), *enclosed):
        if isinstance(found, FunctionType):
            yield found
        elif isinstance(found, ModuleType):
            yield from (each for each in map(vars(found).get, names) if isinstance(each, FunctionType))
