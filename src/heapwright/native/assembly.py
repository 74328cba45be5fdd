"""Assembler text for readers: single functions, with the names of the source and their lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator

FUNCTION = re.compile(r"^(?P<name>[\w.]+):[^\n]*\n(?P<body>.*?)^\.Lfunc_end\d+:", re.S | re.M)
MANGLED = re.compile(r"_ZN(?=10heapwright)\w+")
NOISE = re.compile(r"\t\.|[#;]")  # directives and comments
SIGNS = {"_5b": "[", "_5d": "]", "_28": "(", "_29": ")"}


def functions(assembly: str) -> dict[str, str]:
    """Each function's text by its readable name: C names unchanged, others as `allocators[kr].take_fit`."""
    return {readable(found["name"]): tidy(found["name"], found["body"]) for found in FUNCTION.finditer(assembly)}


def named(assembly: str, name: str) -> list[str]:
    """The functions of that name: the C function, or if there is none, those of any module."""
    found = functions(assembly)
    if name in found:
        return [found[name]]
    return [text for whole, text in found.items() if whole.rpartition(".")[2] == name]


def tidy(name: str, body: str) -> str:
    """The labels and instructions of a function, without directives and comments."""
    lines = [f"{name}:", *(line for line in body.splitlines() if line.strip() and not NOISE.match(line))]
    return MANGLED.sub(lambda found: readable(found[0]), "\n".join(lines))


def instructions(text: str) -> int:
    return sum(line.startswith("\t") for line in text.splitlines())


# --- names


def readable(symbol: str) -> str:
    """The module and function in a name that Numba mangled, without package, version and types."""
    if not MANGLED.fullmatch(symbol):
        return symbol
    _, *parts = pieces(symbol.removeprefix("_ZN"))
    for code, sign in SIGNS.items():
        parts = [part.replace(code, sign) for part in parts]
    return ".".join(parts)


def pieces(mangled: str) -> Iterator[str]:
    """The names at the start of a mangled name, where each follows its length."""
    while found := re.match(r"\d+", mangled):
        end = found.end() + int(found[0])
        yield mangled[found.end() : end]
        mangled = mangled[end:]
