"""Checks of options: those without effect are refused, and so is nan."""

from __future__ import annotations

import math
import re
from typing import Any

import click
from click.core import ParameterSource


def refuse_idle(why: str, *names: str) -> None:
    """Raise a UsageError if one of the named options was given; `why` says when they have no effect."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} has no effect {why}")


class Size(click.ParamType[int]):
    """A number of bytes, which may have a unit: 500000, 512K, 100M, 2G. Units are powers of 1024."""

    name = "bytes"

    def __init__(self, most: int = 1 << 60):
        self.most = most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", str(value), re.IGNORECASE)
        size = int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ") if found else 0
        if not size:
            self.fail(f"{value!r} is no number of bytes such as 500000, 512K, 100M or 2G", parameter, context)
        if size > self.most:
            self.fail(f"{value!r} is too much: the most is {self.most:,} bytes", parameter, context)
        return size


class Real(click.FloatRange):
    """A number in a range. It refuses nan, which would pass click's comparisons with the limits."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        number = super().convert(value, parameter, context)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", parameter, context)
        return number
