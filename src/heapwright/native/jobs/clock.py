"""The processor's clock as a C function, for Python."""

from __future__ import annotations

from heapwright.native import c


def ticks():
    """The processor's clock, as the recorder reads it."""
    return c.ticks()


COMPILED = {"ticks": ((), True)}
