"""The ingredients of a library, hashed to a key: the same ingredients give the same key, wherever the files are.

For an allocator's sources, only the code counts: a comment, a docstring or a blank line changes nothing. For
heapwright's own sources each byte counts. There are many of them, and reading is quicker than compiling.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType

from heapwright.allocator import Allocator, name_of, own_name, parse
from heapwright.native.own_sources import digest_of_compiler, key_of_compiler
from heapwright.variants import settings_of

DOCUMENTED = ast.Module, ast.ClassDef, ast.FunctionDef
IMPORT = re.compile(r"^ *(?:from|import) +([\w.]+)", re.M)


def key_of(stack: Allocator | None) -> str:
    """A hash of all ingredients and of the compiler's versions."""
    if not stack:
        return key_of_compiler()
    settings = [sorted(settings_of(name).items()) for name in parse(stack.spec)]
    digest = hashlib.sha256(repr((label(stack.spec), settings)).encode())
    for code in sorted(map(meaning_of, sources_of(stack))):
        digest.update(code)
    digest.update(digest_of_compiler())
    return digest.hexdigest()[:16]


def label(spec: str) -> str:
    """A stack's name as part of a file name; the user's files and packages appear without their folders."""
    names = "-".join(map(name_of, parse(spec)))
    return "".join(letter if letter.isalnum() or letter == "_" else "-" for letter in names)[-60:]


# --- sources


def sources_of(stack: Allocator) -> set[Path]:
    """The files of the stack's modules and of those that they import, directly or through others."""
    seen: dict[str, ModuleType] = {}
    waiting = [*stack.parts, *([stack.interface] if stack.interface else [])]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in seen:
            seen[module.__name__] = module
            waiting += neighbours(module)
    return {Path(module.__file__) for module in seen.values() if module.__file__}


def neighbours(module: ModuleType) -> Iterator[ModuleType]:
    """The modules that a module imports or imports from, except those of the standard library and the compiler."""
    path = Path(module.__file__ or os.devnull)
    named = [own_name(name, path, module.__name__) for name in IMPORT.findall(path.read_text())]
    held = [thing for thing in vars(module).values() if isinstance(thing, ModuleType)]
    for found in (*map(sys.modules.get, named), *held):
        if found and getattr(found, "__file__", None) and is_of_a_stack(found):
            yield found


def is_of_a_stack(module: ModuleType) -> bool:
    """Whether the module's code may be compiled. A folder of allocators has no code, only modules loaded earlier."""
    package, *rest = module.__name__.split(".")
    if package == "heapwright":
        is_folder = hasattr(module, "__path__") and not hasattr(module, "Heap")
        return bool(rest) and rest[0].startswith("allocators") and not is_folder
    return package not in sys.stdlib_module_names


# --- the meaning of a source


def meaning_of(path: Path) -> bytes:
    """A digest of a source's code, without docstrings and asserts, which are not compiled."""
    tree = ast.parse(path.read_text())
    drop_docstrings(tree)
    code = compile(tree, path.name, "exec", dont_inherit=True, optimize=1)
    return hashlib.sha256(repr(meaning(code)).encode()).digest()


def drop_docstrings(node: ast.AST) -> None:
    """Remove the docstrings of a module, its structs and functions, including those under an `if`."""
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        node.body[:1] = [] if node.body[1:] else [ast.copy_location(ast.Pass(), node.body[0])]
    for inner in (*getattr(node, "body", ()), *getattr(node, "orelse", ())):
        if isinstance(inner, (*DOCUMENTED, ast.If)):
            drop_docstrings(inner)


def meaning(thing: object) -> object:
    """Code as plain values, without line numbers, and with sets in a fixed order."""
    if isinstance(thing, CodeType):
        names = thing.co_name, thing.co_names, thing.co_varnames, thing.co_freevars, thing.co_cellvars
        takes = thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount, thing.co_flags
        return names, takes, thing.co_code, thing.co_exceptiontable, [meaning(each) for each in thing.co_consts]
    if isinstance(thing, tuple):
        return tuple(map(meaning, thing))
    return sorted(map(repr, thing)) if isinstance(thing, frozenset) else thing
