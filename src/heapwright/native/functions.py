"""Plain functions of a module as one library, such as the walk of `heapwright inspect` over copies of large heaps.

The module's `COMPILED` names each function, the struct that each argument points to (None for a number), and whether
the function returns a value. If it has `SLOW_PATHS`, these functions are called, and all others inlined.
"""

from __future__ import annotations

from importlib import import_module
from types import FunctionType
from typing import Any

from heapwright.native.c import process_memory
from heapwright.native.compiler import Export, Unit
from heapwright.native.portable import portable


def functions_unit(name: str) -> Unit:
    module = import_module(name)
    begin = Export("heapwright_job", portable(nothing), 0)  # the shell calls this name at load time
    exports = [
        Export(function, over_pointers(getattr(module, function), kinds), len(kinds), answers)
        for function, (kinds, answers) in module.COMPILED.items()
    ]
    return Unit((begin, *exports), {}, 0, frozenset(getattr(module, "SLOW_PATHS", ())), is_heap=False)


def nothing():
    return 0


def over_pointers(function: FunctionType, kinds: tuple[Any, ...]) -> FunctionType:
    """The function in the form that C calls: it takes addresses instead of struct pointers."""
    names = [f"a{index}" for index in range(len(kinds))]
    given = [name if kind is None else f"S{name}(memory(), {name})" for name, kind in zip(names, kinds, strict=True)]
    scope = {f"S{name}": kind for name, kind in zip(names, kinds, strict=True) if kind is not None}
    scope |= {"function": function, "memory": process_memory}
    exec(f"def face({', '.join(names)}):\n    return function({', '.join(given)})", scope)  # noqa: S102  any arity
    return portable(scope["face"])
