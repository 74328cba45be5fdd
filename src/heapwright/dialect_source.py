"""Sources as the dialect's linter sees them: what a module defines, and who uses what across sibling modules."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent
COMPILED_ANEW = {"floor_log2", "lowest_bit", "count_bits", "shift_right", "below", "times"}  # of bits.py, in native
INTERPRETED = ("check", "lists")
CALLED_FROM_OUTSIDE = {"alloc", "dealloc", "realloc", "alloc_zeroed", "usable_size", "trim", "survey", "walk"}
MOST_FOLDED_SHIFT = 256
MOST_DEPTH = 50

Found = Iterator[tuple[ast.AST, str, str]]  # of a rule: where, its name, what to do instead

OPERATORS: dict[type[ast.AST], Callable[..., int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}


class Key(NamedTuple):
    """A function, constant or struct of a source."""

    path: Path
    name: str


# --- one function


def parts_of(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body and defaults, without its docstring and annotations."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    for part in (*body, *function.args.defaults):
        yield from ast.walk(part)


def locals_of(function: ast.FunctionDef) -> set[str]:
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)}


# --- one module


class Source:
    """What a module defines at its level, also under an `if` of a layer, and what it imports."""

    def __init__(self, path: Path):
        self.path = path.resolve()
        self.tree = ast.parse(self.path.read_text())
        self.functions: dict[str, ast.FunctionDef] = {}
        self.structs: dict[str, ast.ClassDef] = {}
        self.constants: dict[str, ast.expr] = {}
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.statements: list[ast.stmt] = []  # whatever else there is
        self.sort(self.tree.body)

    def sort(self, body: list[ast.stmt]) -> None:
        for statement in body:
            match statement:
                case ast.FunctionDef(name=name):
                    self.functions[name] = statement
                case ast.ClassDef(name=name):
                    self.structs[name] = statement
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    self.constants[name] = value
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    self.constants.update(zip(map(ast.unparse, names), values, strict=False))
                case ast.Import() | ast.ImportFrom():
                    self.imports.append(statement)
                case ast.Expr(value=ast.Constant(value=str())):
                    pass
                case _:
                    self.statements.append(statement)
                    if isinstance(statement, ast.If):
                        self.sort([*statement.body, *statement.orelse])

    @cached_property
    def bindings(self) -> dict[str, Key]:
        """Imported names: where their sources are, and their names there; "" for a whole module."""
        found = {}
        for node in self.imports:
            for alias in node.names:
                module = alias.name if isinstance(node, ast.Import) else node.module or ""
                name = "" if isinstance(node, ast.Import) else alias.name
                found[alias.asname or alias.name] = self.locate(module, name)
        return {name: key for name, key in found.items() if key is not None}

    def locate(self, module: str, name: str) -> Key | None:
        inside = module.removeprefix("heapwright").strip(".").replace(".", "/")
        base = PACKAGE / inside if module.startswith("heapwright") else self.path.parent / module
        for path, found in ((base / f"{name}.py", ""), (base.with_suffix(".py"), name)):
            if path.is_file():
                return Key(path, found)
        return None

    @property
    def is_layer(self) -> bool:
        """Whether the module is written over `inner`."""
        return any(alias.name == "inner" for node in self.imports for alias in node.names)

    @property
    def is_allocator(self) -> bool:
        """Whether the module is a whole allocator, not a part of one."""
        return "Heap" in self.structs and "check" in self.functions

    def names(self) -> set[str]:
        imported = {alias.asname or alias.name for node in self.imports for alias in node.names}
        return {*self.functions, *self.structs, *self.constants, *imported}


# --- a module among its siblings


class Program:
    """A module, those it imports and, if it is a part of an allocator, those that import it."""

    def __init__(self, path: Path):
        self.sources: dict[Path, Source] = {}
        self.main = self.source(path.resolve())
        waiting = [self.main.path, *([] if "check" in self.main.functions else importers(self.main.path))]
        while waiting:
            waiting += [key.path for key in self.read(waiting.pop()).bindings.values() if key.path not in self.sources]

    def read(self, path: Path) -> Source:
        """The source of a sibling; one that cannot be read says nothing, here."""
        try:
            return self.source(path)
        except (SyntaxError, OSError, UnicodeDecodeError):
            return self.main

    def source(self, path: Path) -> Source:
        if path not in self.sources:
            self.sources[path] = Source(path)
        return self.sources[path]

    # --- who uses whom

    def resolve(self, source: Source, node: ast.AST) -> Key | None:
        """The function, struct or constant that `name` or `module.name` means in a source."""
        if isinstance(node, ast.Name):
            is_own = node.id in source.functions or node.id in source.constants or node.id in source.structs
            return Key(source.path, node.id) if is_own else source.bindings.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = source.bindings.get(node.value.id)
            return Key(module.path, node.attr) if module and module.name == "" else None
        return None

    def used_in(self, source: Source, nodes: Iterator[ast.AST], hidden: set[str]) -> set[Key]:
        visible = (node for node in nodes if not (isinstance(node, ast.Name) and node.id in hidden))
        return {key for node in visible if (key := self.resolve(source, node)) is not None}

    @cached_property
    def uses(self) -> dict[Key, set[Key]]:
        """What each function uses; a source's own key, without a name, uses what the module's level does."""
        found = {}
        for source in self.sources.values():
            for name, function in source.functions.items():
                found[Key(source.path, name)] = self.used_in(source, parts_of(function), locals_of(function))
            level = [*source.constants.values(), *source.structs.values()]
            found[Key(source.path, "")] = self.used_in(source, (n for part in level for n in ast.walk(part)), set())
        return found

    def exempt(self) -> set[Key]:
        """What is used by `check` and `lists` alone, and the functions of bits.py that are instructions if compiled."""
        users: dict[Key, set[Key]] = {}
        for user, used in self.uses.items():
            for key in used:
                if key.name not in CALLED_FROM_OUTSIDE:
                    users.setdefault(key, set()).add(user)
        found = {Key(path, name) for path in self.sources for name in INTERPRETED}
        found |= {Key(PACKAGE / "bits.py", name) for name in COMPILED_ANEW}
        while more := {key for key, by in users.items() if by <= found and key not in found}:
            found |= more
        return found

    def reached(self, names: Iterable[str]) -> set[Key]:
        """The functions that those of the main module with these names are made of, themselves included."""
        found, waiting = set[Key](), [self.main.bindings.get(name, Key(self.main.path, name)) for name in names]
        while waiting:
            key = waiting.pop()
            if key in self.uses and key not in found:
                found.add(key)
                waiting += self.uses[key]
        return found

    def circle(self, key: Key) -> list[Key]:
        """The shortest way along which a function calls itself; none is empty."""
        ways, seen = [[key]], {key}
        for way in ways:
            for used in sorted(self.uses.get(way[-1], ())):
                if used == key:
                    return way
                if used in self.uses and used not in seen:
                    seen.add(used)
                    ways.append([*way, used])
        return []

    # --- what is known without running it

    def struct_named(self, node: ast.expr) -> str:
        """The name of the struct that a name means, or ""."""
        key = self.resolve(self.main, node)
        return key.name if key and key.path in self.sources and key.name in self.sources[key.path].structs else ""

    def fold(self, node: ast.AST, source: Source | None = None, depth: int = MOST_DEPTH) -> int | None:
        """The value of a constant expression of whole numbers."""
        source = source or self.main
        if depth == 0:
            return None
        match node:
            case ast.Constant(value=int() as value):
                return value
            case ast.UnaryOp(op=op, operand=operand):
                return self.calculated(op, [self.fold(operand, source, depth - 1)])
            case ast.BinOp(left=left, op=op, right=right):
                return self.calculated(op, [self.fold(each, source, depth - 1) for each in (left, right)])
            case ast.Name() | ast.Attribute():
                key = self.resolve(source, node)
                there = self.sources.get(key.path) if key else None
                named = there.constants.get(key.name) if there and key else None
                return None if named is None else self.fold(named, there, depth - 1)
        return None

    @staticmethod
    def calculated(op: ast.AST, values: list[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        if len(known) < len(values) or type(op) not in OPERATORS:
            return None
        if isinstance(op, (ast.LShift, ast.RShift)) and not 0 <= known[1] <= MOST_FOLDED_SHIFT:
            return None
        return None if isinstance(op, (ast.FloorDiv, ast.Mod)) and known[1] == 0 else OPERATORS[type(op)](*known)


def importers(path: Path) -> list[Path]:
    """The siblings that name a module, directly or through others."""
    texts = {each: each.read_text(errors="replace") for each in path.parent.glob("*.py")}
    found = [path]
    for part in found:
        found += [each for each, text in texts.items() if each not in found and part.stem in text]
    return found[1:]
