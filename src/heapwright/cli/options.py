"""Checks of options: those without effect are refused, and so is nan. Sizes in bytes."""

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
    """A number of bytes, which may have a unit: 500000, 512K, 1.5M, 2G. Units are powers of 1024."""

    name = "bytes"
    form = re.compile(r"(\d+(?:\.\d+)?)(?:([KMGT])(?:i?B)?|B?)", re.IGNORECASE)

    def __init__(self, most: int = 1 << 60):
        self.most = most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        found = self.form.fullmatch(str(value).replace(",", "").replace("_", ""))
        size = int(float(found[1]) * 1024 ** " KMGT".index((found[2] or " ").upper())) if found else 0
        if not size:
            self.fail(f"{value!r} is no number of bytes such as 500000, 512K, 1.5M or 2G", parameter, context)
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
