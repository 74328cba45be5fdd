"""Make undecorated functions callable from compiled code, without touching their module."""

from __future__ import annotations

from types import FunctionType

from numba.extending import register_jitable

from heapwright.reach import reachable

_known: set[FunctionType] = set()


def given(function: FunctionType) -> None:
    """Mark a function as having its own compiled definition."""
    _known.add(function)


def portable(function: FunctionType) -> FunctionType:
    """Make a plain function, and everything it calls, callable from compiled code."""
    for each in reachable([function]):
        if each not in _known:
            register_jitable(each)
            given(each)
    return function
