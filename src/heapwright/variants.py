"""Variants: an allocator with different values of the constants in its TUNABLES, such as `hoard[SLACK=4]`.

    TUNABLES = (("SLACK", "heaps.SLACK_SUPERBLOCKS", range(1, 257)), ("FOOTERS", "FOOTERS", (0, 1)))

A tunable consists of the name in brackets, the constant that it sets, and the permitted values, a range or a tuple. The
constant is in the allocator's main module (`NAME`), in a room (`room.NAME`), or in a module that several allocators
share (`parts.module.NAME`). The modules of a variant are executed again with these constants instead of those in the
source. So compiled code has them folded, and there is no test at run time. A variant may set one of the tunables that
EXCLUSIVE names to another value than 0.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from heapwright.errors import AllocatorError, suggestion

FORM = re.compile(r"(?P<base>[^\[\]]+)\[(?P<settings>[^\[\]]*)\]")
SETTING = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(\d+|0x[0-9a-fA-F]+)\s*")
SHARED = Path(__file__).parent / "allocators" / "parts"

Constants = tuple[tuple[str, int], ...]  # names, each with its value


class Tunable(NamedTuple):
    """A constant that variants set: the file that assigns it, its name there, and the permitted values."""

    file: Path
    constant: str
    values: range | tuple[int, ...]


def base_of(name: str) -> str:
    """The allocator's name without settings: `hoard` for `hoard[SLACK=4]`."""
    found = FORM.fullmatch(name)
    return found["base"] if found else name


def settings_of(name: str) -> dict[str, int]:
    """The tunables that a name sets; empty for a plain allocator. Raises AllocatorError if the form is wrong."""
    found = FORM.fullmatch(name)
    if not found:
        return {}
    each = [SETTING.fullmatch(text) for text in found["settings"].split(",")]
    if not all(each):
        raise AllocatorError(f"'{name}' is not a variant: write it as {found['base']}[NAME=NUMBER,NAME=NUMBER]")
    return {setting[1]: int(setting[2], 0) for setting in each if setting}


def tunables_of(path: Path) -> dict[str, Tunable]:
    """The TUNABLES of an allocator's main file, by name."""
    return {name: Tunable(*place_of(where, path), values) for name, where, values in literal_in(path, "TUNABLES")}


def literal_in(path: Path, name: str) -> tuple[Any, ...]:
    """The tuple that a file assigns to a name, or an empty one. Only the literal itself is evaluated."""
    return literal_of(path.read_text(), name)


@lru_cache  # each room of a variant asks for the same one
def literal_of(text: str, name: str) -> tuple[Any, ...]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            found: tuple[Any, ...] = eval(ast.unparse(node.value), {"__builtins__": {"range": range}})  # noqa: S307
            return found
    return ()


def place_of(where: str, path: Path) -> tuple[Path, str]:
    """The file and the name of a constant, given as in TUNABLES."""
    *rooms, constant = where.split(".")
    if not rooms:
        return path, constant
    folder = SHARED if rooms[0] == "parts" else path.parent
    return folder / f"{rooms[-1]}.py", constant


def require_tunables(name: str, path: Path) -> None:
    """Refuse a variant that sets an unknown tunable, a value that is not permitted, or two that exclude each other."""
    base, settings = base_of(name), settings_of(name)
    tunables = tunables_of(path) if settings else {}
    otherwise = f"it has {', '.join(tunables)}"
    for setting, value in settings.items():
        if not tunables:
            raise AllocatorError(f"{base} has no tunables, and so no variants")
        if setting not in tunables:
            raise AllocatorError(f"{base} has no tunable '{setting}': {suggestion(setting, tunables, otherwise)}")
        if value not in tunables[setting].values:
            raise AllocatorError(f"{setting} of {base} is {in_words(tunables[setting].values)}, not {value}")
    rivals = [each for each in literal_in(path, "EXCLUSIVE") if settings.get(each)] if settings else []
    if len(rivals) > 1:
        raise AllocatorError(f"{base} cannot have {' and '.join(rivals)} at once: set one of them")


def in_words(values: range | tuple[int, ...]) -> str:
    if isinstance(values, range):
        step = "" if values.step == 1 else f" in steps of {values.step}"
        return f"{values[0]} to {values[-1]}{step}"
    return " or ".join(map(str, values))


def constants_of(path: Path, name: str, main: Path) -> Constants:
    """The constants of a source that the name of a variant sets. `main` is the file with the TUNABLES."""
    settings, tunables = settings_of(name), tunables_of(main) if settings_of(name) else {}
    return tuple((tunables[each].constant, value) for each, value in settings.items() if tunables[each].file == path)


def with_constants(tree: ast.Module, constants: Constants) -> ast.Module:
    """Replace the values that a source assigns to constants."""
    values = dict(constants)
    for node in tree.body if values else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in values:
            node.value = ast.copy_location(ast.Constant(values[ast.unparse(node.targets[0])]), node.value)
    return tree
