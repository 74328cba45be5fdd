"""The functions reachable from others: those to compile together, and those that the machine must examine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, ModuleType


def reachable(
    functions: Iterable[FunctionType], wanted: Callable[[FunctionType], bool] = lambda function: True
) -> list[FunctionType]:
    """These functions and all that they name, directly or indirectly, without passing through unwanted ones."""
    seen: dict[FunctionType, None] = {}
    waiting = list(functions)
    while waiting:
        each = waiting.pop()
        if each not in seen and wanted(each):
            seen[each] = None
            waiting += callees(each)
    return list(seen)


def callees(function: FunctionType) -> Iterator[FunctionType]:
    """The functions that a function names, alone or as members of a module: `take(...)`, `inner.alloc(...)`."""
    names = function.__code__.co_names
    enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
    for found in (*map(function.__globals__.get, names), *enclosed):
        if isinstance(found, FunctionType):
            yield found
        elif isinstance(found, ModuleType):
            yield from (each for each in map(vars(found).get, names) if isinstance(each, FunctionType))
