"""Checks of options: those without effect are refused, and so is nan."""

from __future__ import annotations

import math
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
