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


class Real(click.FloatRange):
    """A number in a range. It refuses nan, which would pass click's comparisons with the limits."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        number = super().convert(value, parameter, context)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", parameter, context)
        return number


class Size(click.ParamType[int]):
    """A number of bytes, or of KiB, MiB or GiB with the letter K, M or G."""

    name = "size"
    form = re.compile(r"(\d+(?:\.\d+)?)(?:([KMG])(?:i?B)?|B?)", re.I)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        found = self.form.fullmatch(str(value).replace(",", "").replace("_", "").strip())
        if not found:
            self.fail(f"{value!r} is no size such as 6000000, 5860K or 6M", parameter, context)
        return int(float(found[1]) * 1024 ** " KMG".index((found[2] or " ").upper()))
