"""Sources for the dialect's linter: the names that a module defines, and their uses across sibling modules."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

PACKAGE = Path(__file__).resolve().parents[1]
ALLOCATORS = PACKAGE / "allocators"
COMPILED_ANEW = {
    "floor_log2",
    "lowest_bit",
    "count_bits",
    "shift_right",
    "unsigned_less",
    "wrapping_add",
    "wrapping_mul",
}  # of bits.py, in native
INTERFACE = {
    "alloc": ("heap", "size", "align"),
    "dealloc": ("heap", "address", "size", "align"),
    "realloc": ("heap", "address", "size", "align", "new_size"),
    "alloc_zeroed": ("heap", "size", "align"),
    "usable_size": ("heap", "address"),
    "expect_size": ("heap", "address", "size", "align"),
    "expect_room": ("heap", "address", "size"),
    "walk": ("heap", "start", "end"),
    "trim": ("heap", "pad"),
    "cache_create": ("heap", "name", "size", "align", "constructor", "destructor"),
    "cache_alloc": ("heap", "cache"),
    "cache_free": ("heap", "cache", "address"),
    "cache_reap": ("heap", "cache"),
    "cache_destroy": ("heap", "cache"),
    **dict.fromkeys(("thread_exit", "fork_prepare", "fork_parent", "fork_child", "release_held"), ("heap",)),
}
INTERPRETED = ("check", "lists")
CALLED_FROM_OUTSIDE = {
    *("alloc", "dealloc", "realloc", "alloc_zeroed", "usable_size", "expect_size", "expect_room"),
    *("trim", "tune", "survey", "survey_part", "walk"),
    *("cache_create", "cache_alloc", "cache_free", "cache_reap", "cache_destroy"),
}
OF_AN_ALLOCATOR = {*CALLED_FROM_OUTSIDE, *INTERFACE, *INTERPRETED}
MAX_FOLDED_SHIFT = 256
MAX_DEPTH = 50
KEPT_SOURCES, KEPT_FUNCTIONS = 256, 1 << 13  # an allocator's modules are linted one after the other

Found = Iterator[tuple[ast.AST, str, str]]  # the findings of a rule: where, its name, what to do instead

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


@lru_cache(KEPT_FUNCTIONS)
def parts_of(function: ast.FunctionDef) -> tuple[ast.AST, ...]:
    """The nodes of a function's body and defaults, without its docstring and annotations."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return tuple(node for part in (*body, *function.args.defaults) for node in ast.walk(part))


@lru_cache(KEPT_FUNCTIONS)
def locals_of(function: ast.FunctionDef) -> frozenset[str]:
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(stored | {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)})


# --- one module


class Source:
    """The names that a module defines at its top level, also under an `if` of a layer, and its imports."""

    def __init__(self, path: Path, text: str):
        self.path = path
        self.tree = ast.parse(text)
        self.functions: dict[str, ast.FunctionDef] = {}
        self.structs: dict[str, ast.ClassDef] = {}
        self.constants: dict[str, ast.expr] = {}
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.statements: list[ast.stmt] = []  # all others
        self.sort(self.tree.body)
        self.rebound: dict[str, ast.Attribute] = {}
        self.rebind()

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

    def rebind(self) -> None:
        """Separate the functions that a module takes over from a room from its constants."""
        for name, value in list(self.constants.items()):
            if is_of_a_room(value, name):
                self.rebound[name] = value
                del self.constants[name]

    @cached_property
    def bindings(self) -> dict[str, Key]:
        """Imported names, with their sources and their names there; "" for a whole module."""
        found = {}
        for node in self.imports:
            for alias in node.names:
                module = alias.name if isinstance(node, ast.Import) else node.module or ""
                name = "" if isinstance(node, ast.Import) else alias.name
                found[alias.asname or alias.name] = self.locate(module, name)
        for name, function in self.rebound.items():
            room = found.get(ast.unparse(function.value))
            found[name] = Key(room.path, function.attr) if room else None
        return {name: key for name, key in found.items() if key is not None}

    def locate(self, module: str, name: str) -> Key | None:
        """The place of an imported name: a module, or a name in a module or in the `__init__` of a package."""
        if module == "heapwright.layers":
            return None  # `inner` can be any allocator below the layer
        package, *inside = module.split(".")
        base = self.folder_of(package).joinpath(*inside)
        modules = ((base / f"{name}.py", ""), (base / name / "__init__.py", "")) if name else ()
        for path, found in (*modules, (base.with_suffix(".py"), name), (base / "__init__.py", name)):
            if path.is_file():
                return Key(path, found)
        return None

    def folder_of(self, package: str) -> Path:
        """The folder with the modules of heapwright, of the source's own package, or of a sibling."""
        if package == "heapwright":
            return PACKAGE
        return self.path.parent if package == self.package else self.path.parent / package

    @cached_property
    def package(self) -> str:
        """The name of the package that the source belongs to, or ""."""
        return self.path.parent.name if self.path.with_name("__init__.py").is_file() else ""

    @property
    def is_layer(self) -> bool:
        """Whether the module imports `inner`."""
        return any(alias.name == "inner" for node in self.imports for alias in node.names)

    @property
    def is_allocator(self) -> bool:
        """Whether the module is a whole allocator, not a part of one."""
        return "Heap" in self.structs and ("check" in self.functions or "check" in self.rebound)

    def names(self) -> set[str]:
        imported = {alias.asname or alias.name for node in self.imports for alias in node.names}
        return {*self.functions, *self.structs, *self.constants, *self.rebound, *imported}

    # --- uses

    def resolve(self, node: ast.AST) -> Key | None:
        """The function, struct or constant that `name` or `module.name` means here."""
        if isinstance(node, ast.Name):
            is_own = node.id in self.functions or node.id in self.constants or node.id in self.structs
            return Key(self.path, node.id) if is_own else self.bindings.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self.bindings.get(node.value.id)
            return Key(module.path, node.attr) if module and module.name == "" else None
        return None

    def used_in(self, nodes: Iterable[ast.AST], hidden: frozenset[str]) -> set[Key]:
        """The functions, constants and structs that nodes name; a local name hides a module's."""
        named = (node for node in nodes if first_name(node) not in hidden)
        return {key for node in named if (key := self.resolve(node)) is not None and key.name}

    @cached_property
    def uses(self) -> dict[Key, set[Key]]:
        """The uses of each function; those of the top level have the key without a name."""
        level = [*self.constants.values(), *self.structs.values()]
        at_top = self.used_in((node for part in level for node in ast.walk(part)), frozenset())
        functions = self.functions.items()
        found = {Key(self.path, name): self.used_in(parts_of(each), locals_of(each)) for name, each in functions}
        return found | {Key(self.path, ""): at_top}


def source_at(path: Path) -> Source:
    """The source in a file."""
    return parsed(path, path.read_text())


@lru_cache(KEPT_SOURCES)
def parsed(path: Path, text: str) -> Source:
    return Source(path, text)


def is_of_a_room(value: ast.expr, name: str) -> TypeGuard[ast.Attribute]:
    """Whether a module takes over a room's function, as in `walk = inspect.walk`."""
    return name in OF_AN_ALLOCATOR and isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name)


# --- a module among its siblings


class Program:
    """A module, the modules that it imports and, if it is a part of an allocator, those that import it."""

    def __init__(self, path: Path):
        self.sources: dict[Path, Source] = {}
        self.main = self.source(path.resolve())
        waiting = [self.main.path, *([] if self.main.is_allocator else importers(self.main.path))]
        while waiting:
            waiting += [key.path for key in self.read(waiting.pop()).bindings.values() if key.path not in self.sources]

    def read(self, path: Path) -> Source:
        """The source of a sibling; one that cannot be read counts as empty here."""
        try:
            return self.source(path)
        except (SyntaxError, OSError, UnicodeDecodeError):
            return self.main

    def source(self, path: Path) -> Source:
        if path not in self.sources:
            self.sources[path] = source_at(path)
        return self.sources[path]

    # --- uses

    @cached_property
    def uses(self) -> dict[Key, set[Key]]:
        """The uses of each function; the key of a source without a name stands for the module's top level."""
        return {key: used for source in self.sources.values() for key, used in source.uses.items()}

    def exempt(self) -> set[Key]:
        """Names that only `check` and `lists` use, and the functions of bits.py that compile to instructions."""
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
        """The functions that these functions of the main module use, including themselves."""
        found, waiting = set[Key](), [self.main.bindings.get(name, Key(self.main.path, name)) for name in names]
        while waiting:
            key = waiting.pop()
            if key in self.uses and key not in found:
                found.add(key)
                waiting += self.uses[key]
        return found

    def circle(self, key: Key) -> list[Key]:
        """The shortest path on which a function calls itself; empty if there is none."""
        ways, seen = [[key]], {key}
        for way in ways:
            for used in sorted(self.uses.get(way[-1], ())):
                if used == key:
                    return way
                if used in self.uses and used not in seen:
                    seen.add(used)
                    ways.append([*way, used])
        return []

    # --- static values

    def struct_named(self, node: ast.expr) -> str:
        """The name of the struct that a name refers to, or ""."""
        key = self.main.resolve(node)
        return key.name if key and key.path in self.sources and key.name in self.sources[key.path].structs else ""

    def fold(self, node: ast.AST, source: Source | None = None, depth: int = MAX_DEPTH) -> int | None:
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
                key = source.resolve(node)
                there = self.sources.get(key.path) if key else None
                named = there.constants.get(key.name) if there and key else None
                return None if named is None else self.fold(named, there, depth - 1)
        return None

    @staticmethod
    def calculated(op: ast.AST, values: list[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        if len(known) < len(values) or type(op) not in OPERATORS:
            return None
        if isinstance(op, (ast.LShift, ast.RShift)) and not 0 <= known[1] <= MAX_FOLDED_SHIFT:
            return None
        return None if isinstance(op, (ast.FloorDiv, ast.Mod)) and known[1] == 0 else OPERATORS[type(op)](*known)


def first_name(node: ast.AST) -> str:
    """The first name of an expression such as `a`, `a.b.c` or `a[i].b`; "" if a call comes in between."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def importers(path: Path) -> list[Path]:
    """The modules next to one, or among heapwright's allocators, that import it, directly or through others."""
    is_shipped = path.is_relative_to(ALLOCATORS)
    paths = ALLOCATORS.rglob("*.py") if is_shipped else path.parent.glob("*.py")
    texts = {each: each.read_text(errors="replace") for each in paths}
    found = [path]
    for part in found:
        found += [each for each, text in texts.items() if each not in found and may_import(each, text, part)]
    return found[1:]


def may_import(path: Path, text: str, module: Path) -> bool:
    """Whether a source may import a module; from another folder, it must name that folder, too."""
    return module.stem in text and (path.parent == module.parent or module.parent.name in text)
