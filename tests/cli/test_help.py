"""Help texts: what a command does for its user, an example that works, options that say something."""

from __future__ import annotations

import inspect
import re

import click
import pytest

from heapwright.cli import commands

COMMANDS = {name: commands.group.get_command(click.Context(commands.group), name) for name in commands.COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_a_sentence_and_has_an_example(name):
    first, *rest = inspect.cleandoc(COMMANDS[name].callback.__doc__).split("\n\n")
    assert re.fullmatch(r"[A-Z].*[.]", first, re.S), first
    examples = re.findall(rf"^(?:\w+=\S+ )?heapwright {name}\b.*", "\n".join(rest), re.M)
    assert examples


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_would_be_accepted(name, tool):
    check = tool("check_docs")
    text = inspect.cleandoc(COMMANDS[name].callback.__doc__)
    lines = list(check.command_lines(f"```\n{text}\n```\n"))
    assert lines and {line: why for line in lines if (why := check.refusal(line))} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_says_what_it_does(name):
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option) and not each.hidden]
    for option in options:
        assert re.match(r"[A-Z].*[.]$", option.help or "", re.S), f"{name} {option.opts[0]}: {option.help}"


def test_defaults_are_those_that_one_would_use(heapwright):
    """They are said in the help."""
    assert "[default: kr]" in " ".join(heapwright("simulate", "--help").stdout.split())
    assert "[default: wright]" in " ".join(heapwright("run", "--help").stdout.split())
    compare = " ".join(heapwright("compare", "--help").stdout.split())
    assert "the C library's malloc (`system`) with wright, ptmalloc, hoard and slab" in compare
