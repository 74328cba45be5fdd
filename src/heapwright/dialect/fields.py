"""The linter's rule about fields: a pointer has the fields of its struct, and memory has the names of memory.Memory.

The struct that a pointer points to is inferred where possible: from `Struct(memory, address)`, from fields, from the
results of functions and from their arguments. Where it is unknown, a name must be a field of some struct.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from heapwright.dialect.source import INTERFACE, Found, Key, Program, Source, locals_of, parts_of
from heapwright.errors import suggestion
from heapwright.memory import Memory

OF_A_POINTER = {"address", "memory", "at"}
OF_A_STRUCT = {"SIZE", "ALIGN"}
OF_AN_ARRAY = {"address", "at"}
OF_A_CELL = {"address", "load", "store", "exchange", "compare_exchange", "add"}
OF_MEMORY = {name for name in (*vars(Memory), *Memory.__annotations__) if not name.startswith("_")}
WITH_STORY = ast.Assign, ast.NamedExpr, ast.For, ast.comprehension, ast.AugAssign, ast.Return, ast.Call
OF_A_NUMBER = {"bit_length", "bit_count"}  # these have their own rule
ANYWHERE = OF_A_POINTER | OF_A_STRUCT | OF_AN_ARRAY | OF_A_CELL | OF_MEMORY | OF_A_NUMBER | {"offset"}


class Type(NamedTuple):
    """The type of an expression: its form, and its struct or parts."""

    form: str  # "pointer", "array", "cell", "memory", "tuple", "unknown"; "nothing yet" until it is inferred
    struct: Key | None = None  # of a pointer
    parts: tuple[Type, ...] = ()  # the element of an array or a cell; the parts of a tuple

    def __or__(self, other: Type) -> Type:
        """The type of a value that has one of both types."""
        if NOTHING in (self, other):
            return other if self == NOTHING else self
        if (self.form, self.struct, len(self.parts)) != (other.form, other.struct, len(other.parts)):
            return UNKNOWN
        return self._replace(parts=tuple(map(operator.or_, self.parts, other.parts)))


NOTHING, UNKNOWN, MEMORY = Type("nothing yet"), Type("unknown"), Type("memory")


class Types:
    """The types of all names in a program's sources: of fields, locals, arguments and results."""

    def __init__(self, sources: frozenset[Source]):
        self.sources = {source.path: source for source in sources}
        self.fields = dict(self.fields_of_all())
        self.arguments: dict[Key, list[Type]] = {}
        self.results: dict[Key, Type] = {}
        self.is_new = True
        self.scopes = {
            Key(source.path, name): Scope(self, source, Key(source.path, name))
            for source in sources
            for name in source.functions
        }
        while self.is_new:  # this ends, because types only become less certain
            self.is_new = False
            for scope in self.scopes.values():
                self.look_at(scope)

    def look_at(self, scope: Scope) -> None:
        scope.take_arguments()
        for node in scope.with_story:
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        scope.assign(target, scope.type_of(value))
                case ast.NamedExpr(target=target, value=value):
                    scope.assign(target, scope.type_of(value))
                case ast.For(target=target) | ast.comprehension(target=target) | ast.AugAssign(target=target):
                    scope.assign(target, UNKNOWN)
                case ast.Return(value=ast.expr() as value):
                    self.results[scope.key] = self.joined(self.results.get(scope.key, NOTHING), scope.type_of(value))
                case ast.Call(func=called, args=arguments):
                    self.called(scope, called, arguments)

    def called(self, scope: Scope, function: ast.expr, arguments: list[ast.expr]) -> None:
        """Note the types of the arguments of a call."""
        key = scope.source.resolve(function)
        known = self.arguments.get(key, []) if key else []
        for i, argument in enumerate(arguments[: len(known)]):
            known[i] = self.joined(known[i], scope.type_of(argument))

    def joined(self, old: Type, new: Type) -> Type:
        """The join of both types; note whether it differs from the old one."""
        both = old | new
        self.is_new = self.is_new or both != old
        return both

    # --- structs

    def fields_of_all(self) -> Iterator[tuple[Key, dict[str, Type]]]:
        for source in self.sources.values():
            for name, struct in source.structs.items():
                fields = [each for each in struct.body if isinstance(each, ast.AnnAssign)]
                yield Key(source.path, name), {ast.unparse(f.target): self.kind(source, f.annotation) for f in fields}

    def kind(self, source: Source, annotation: ast.expr) -> Type:
        """The type of a field, from its annotation."""
        if isinstance(annotation, ast.Subscript):
            of = annotation.slice.elts[0] if isinstance(annotation.slice, ast.Tuple) else annotation.slice
            forms = {"Array": "array", "Atomic": "cell"}
            form, inner = forms.get(ast.unparse(annotation.value)), self.kind(source, of)
            return Type(form, parts=(inner,)) if form else inner
        key = source.resolve(annotation)
        return Type("pointer", key) if key and self.is_struct(key) else UNKNOWN

    def is_struct(self, key: Key) -> bool:
        return key.path in self.sources and key.name in self.sources[key.path].structs


class Scope:
    """The names of one function, with their types so far."""

    def __init__(self, types: Types, source: Source, key: Key):
        self.types, self.source, self.key = types, source, key
        function = source.functions[key.name]
        self.names = dict.fromkeys(locals_of(function), NOTHING)
        self.given = [argument.arg for argument in function.args.args]
        self.with_story = [node for node in parts_of(function) if isinstance(node, WITH_STORY)]
        types.arguments[key] = [NOTHING] * len(self.given)
        if key.name in INTERFACE and self.given and "Heap" in source.structs:
            types.arguments[key][0] = Type("pointer", Key(source.path, "Heap"))

    def take_arguments(self) -> None:
        for name, found in zip(self.given, self.types.arguments[self.key], strict=True):
            self.names[name] = self.types.joined(self.names[name], found)

    def assign(self, target: ast.expr, value: Type) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = self.types.joined(self.names.get(target.id, NOTHING), value)
        elif isinstance(target, ast.Tuple):
            parts = value.parts if len(value.parts) == len(target.elts) else [UNKNOWN] * len(target.elts)
            for each, part in zip(target.elts, parts, strict=True):
                self.assign(each, NOTHING if value == NOTHING else part)

    def type_of(self, node: ast.expr) -> Type:
        found = UNKNOWN
        match node:
            case ast.Name(id=name):
                found = self.names.get(name, UNKNOWN)
            case ast.Attribute(value=base, attr=name):
                found = self.attribute(self.type_of(base), name)
            case ast.Subscript(value=base):
                found = element_of(self.type_of(base), "array")
            case ast.IfExp(body=body, orelse=orelse):
                found = self.type_of(body) | self.type_of(orelse)
            case ast.Tuple(elts=parts):
                found = Type("tuple", parts=tuple(map(self.type_of, parts)))
            case ast.Call(func=called):
                found = self.call(called)
            case ast.NamedExpr(value=value):
                found = self.type_of(value)
        return found

    def attribute(self, base: Type, name: str) -> Type:
        if name == "memory":
            return MEMORY
        fields = self.types.fields.get(base.struct, {}) if base.struct else {}
        return NOTHING if base == NOTHING else fields.get(name, UNKNOWN)

    def call(self, called: ast.expr) -> Type:
        key = self.source.resolve(called)
        if key is not None and self.types.is_struct(key):
            return Type("pointer", key)
        if key in self.types.arguments:
            return self.types.results.get(key, NOTHING)
        if isinstance(called, ast.Attribute):
            base = self.type_of(called.value)
            if called.attr == "at" and base.form in ("pointer", "nothing yet"):
                return base
            if called.attr in ("load", "exchange"):
                return element_of(base, "cell")
        return UNKNOWN


def element_of(base: Type, form: str) -> Type:
    return base if base == NOTHING else base.parts[0] if base.form == form else UNKNOWN


# --- the rule


def declared(program: Program, function: ast.FunctionDef) -> Found:
    """Each name behind a dot must exist."""
    types, source = types_in(frozenset(program.sources.values())), program.main
    scope = types.scopes[Key(source.path, function.name)]
    for node in parts_of(function):
        if isinstance(node, ast.Attribute) and not is_of_the_module(source, scope, node.value):
            yield from refused(types, scope, node)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from undefined(program, node, node.value.id)


types_in = lru_cache(4)(Types)  # the modules of an allocator are linted one after the other, each with all of them


def is_of_the_module(source: Source, scope: Scope, base: ast.expr) -> bool:
    """Whether the expression before the dot is a module, or a struct whose field is asked for its `offset`."""
    root = base.value if isinstance(base, ast.Attribute) else base
    return isinstance(root, ast.Name) and root.id in source.names() and root.id not in scope.names


def undefined(program: Program, node: ast.Attribute, module: str) -> Found:
    """A name that an imported module does not define."""
    key = program.main.bindings.get(module)
    if key and not key.name and key.path in program.sources:
        names = program.sources[key.path].names()
        if node.attr not in names:
            yield node, "D1", f"{module} has no '{node.attr}': {suggestion(node.attr, names, 'define it there')}"


def refused(types: Types, scope: Scope, node: ast.Attribute) -> Found:
    base, name, stored = scope.type_of(node.value), node.attr, isinstance(node.ctx, ast.Store)
    if base == MEMORY:
        if name not in OF_MEMORY:
            yield node, "D3", f"memory has no {name}: {suggestion(name, OF_MEMORY, 'see memory.Memory')}"
        elif stored:
            yield node, "D4", f"memory.{name} = ...: keep state in a field of Heap"
    elif base.struct is not None:
        yield from refused_of_struct(types, base.struct, node)
    elif base.form in KNOWN and name not in KNOWN[base.form]:
        yield node, "D1", f"{ARTICLES[base.form]} has no {name}: it has {', '.join(sorted(KNOWN[base.form]))}"
    elif not scope.source.is_layer and name not in ANYWHERE and not any(name in each for each in types.fields.values()):
        fields = sorted({field for each in types.fields.values() for field in each})
        yield node, "D4" if stored else "D1", undeclared("no struct has", name, fields)


KNOWN = {"array": OF_AN_ARRAY, "cell": OF_A_CELL}
ARTICLES = {"array": "an array", "cell": "an atomic cell"}


def refused_of_struct(types: Types, struct: Key, node: ast.Attribute) -> Found:
    fields, stored = types.fields[struct], isinstance(node.ctx, ast.Store)
    if node.attr in OF_A_POINTER:
        if stored:
            yield node, "D4", f"{ast.unparse(node)} = ...: a pointer stays; make another one with at(address)"
    elif node.attr not in fields:
        yield node, "D4" if stored else "D1", undeclared(f"{struct.name} has no", node.attr, list(fields))


def undeclared(whose: str, name: str, fields: list[str]) -> str:
    return f"{whose} field '{name}': {suggestion(name, fields, 'declare it in a struct')}"
