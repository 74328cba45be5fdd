"""The linter's rules about the contents of a module: D1 to D5, and D9. `fields` and `values` have the others."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator

from heapwright.dialect.fields import declared
from heapwright.dialect.source import (
    INTERFACE,
    OF_AN_ALLOCATOR,
    PACKAGE,
    Found,
    Key,
    Program,
    Source,
    first_name,
    locals_of,
    parts_of,
)
from heapwright.dialect.values import numbers, one_type, too_large

SHARED = ("layout", "bits", "spans", "locks", "stats", "options", "chance", "guards")
ALLOWED_IMPORTS = {
    "__future__",
    "heapwright.allocators",
    "heapwright.layers.inner",
    "heapwright.layers.bottom",
    *(f"heapwright.{name}" for name in SHARED),
}
ALLOWED_BUILTINS = {"min", "max", "len", "range", "abs", "int", "bool"}
WORLDLY = {"load", "store", "exchange", "compare_exchange", "add"}  # of memory: only fields of structs may call these


def everything(program: Program) -> Found:
    source, exempt = program.main, program.exempt()
    for name, function in source.functions.items():
        if Key(source.path, name) not in exempt:
            for rule in FUNCTION_RULES:
                yield from rule(program, function)
    for name, value in source.constants.items():
        if Key(source.path, name) not in exempt:
            yield from constant(program, name, value)
    for struct in source.structs.values():
        yield from fields_only(struct)
    for statement in source.statements:
        yield from nothing_runs(source, statement)
    yield from imports(source)
    yield from recursion(program, exempt)


# --- D1: plain functions

COMPREHENSION = ("D1", "a comprehension outside check: write the loop")
IMPORT = ("D1", "import inside a function: import at the top of the module")
CONSTRUCTS: dict[type[ast.AST], tuple[str, str]] = {
    ast.FunctionDef: ("D1", "a function inside a function: define it at the module's level and hand it what it needs"),
    ast.AsyncFunctionDef: ("D1", "async: write a plain function"),
    ast.Lambda: ("D1", "lambda: name the function and define it at the module's level"),
    ast.ClassDef: ("D1", "a class inside a function: define a Struct at the module's level"),
    ast.Try: ("D1", "try: return 0 or False on failure and test the result"),
    ast.Raise: ("D1", "raise: return 0 on failure, or report misuse with heap.memory.fault(text, address)"),
    ast.With: ("D1", "with: call acquire and release, or begin and end, by name"),
    ast.Global: ("D4", "global: keep state in a field of Heap"),
    ast.Nonlocal: ("D1", "nonlocal: hand the value over and return it"),
    ast.Import: IMPORT,
    ast.ImportFrom: IMPORT,
    ast.Delete: ("D1", "del: leave the name alone"),
    ast.Await: ("D1", "await: write a plain function"),
    ast.Starred: ("D1", "*: hand over each value by itself"),
    ast.YieldFrom: ("D1", "yield from: write `for span in ...: yield span`"),
    ast.ListComp: COMPREHENSION,
    ast.SetComp: COMPREHENSION,
    ast.DictComp: COMPREHENSION,
    ast.GeneratorExp: COMPREHENSION,
    ast.List: ("D2", "a list outside check: keep the values in a field, such as Array[Word, 8], or in a tuple"),
    ast.Dict: ("D2", "a dict outside check: keep the values in fields of a struct"),
    ast.Set: ("D2", "a set outside check: compare one by one, or keep a bitmap"),
    ast.JoinedStr: ("D2", "a string outside check: only the text of heap.memory.fault is one, and it is constant"),
    ast.Assert: ("D9", "assert outside check: report misuse with heap.memory.fault(text, address)"),
}


def constructs(program: Program, function: ast.FunctionDef) -> Found:
    for node in parts_of(function):
        if type(node) in CONSTRUCTS:
            yield node, *CONSTRUCTS[type(node)]
        elif isinstance(node, ast.Yield) and not function.name.startswith("walk"):
            yield node, "D1", "yield outside walk: return the value, or write the loop where it is needed"
        elif isinstance(node, ast.Call) and node.keywords:
            yield node, "D1", "a keyword argument: give the arguments by position"


def signature(program: Program, function: ast.FunctionDef) -> Found:
    if function.decorator_list:
        yield function.decorator_list[0], "D1", f"a decorator: define `{function.name}` plainly"
    if function.args.vararg or function.args.kwarg or function.args.kwonlyargs:
        yield function, "D1", f"`{function.name}` takes *args or keywords: name each argument"
    wanted = INTERFACE.get(function.name)
    if wanted and program.main.is_allocator and len(wanted) != len(function.args.args):
        yield function, "D1", f"`{function.name}` takes {len(wanted)} arguments: {function.name}({', '.join(wanted)})"


def fields_only(struct: ast.ClassDef) -> Found:
    if [ast.unparse(base) for base in struct.bases] != ["Struct"] or struct.keywords or struct.decorator_list:
        yield struct, "D1", f"`{struct.name}` is not a plain struct: write `class {struct.name}(Struct):`"
    for statement in struct.body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        is_field = isinstance(statement, ast.AnnAssign) and statement.value is None
        if not is_text and not is_field and not isinstance(statement, ast.Pass):
            yield statement, "D1", f"`{struct.name}` has more than fields: write a function that takes the pointer"


# --- D2: numbers, booleans, pointers and tuples of them


def values(program: Program, function: ast.FunctionDef) -> Found:
    texts = {id(text) for text in messages(function)}
    for node in parts_of(function):
        if isinstance(node, ast.Constant) and not isinstance(node.value, int) and id(node) not in texts:
            yield node, "D2", f"{node.value!r} is no number, boolean or pointer: {INSTEAD.get(type(node.value), USE)}"
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
            yield node, "D2", "`/` makes a float: use `>>`, or `//` where time does not matter"


USE = "values are whole numbers, booleans, pointers and tuples of them"
INSTEAD: dict[type, str] = {
    type(None): "write NULL, or `pointer.at(NULL)` for a null pointer",
    float: "count in a smaller unit, in whole numbers",
    str: "a string belongs in check, in a docstring, or in heap.memory.fault(text, address)",
}


def messages(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """The texts of heap.memory.fault("...", address), and of asserts, which another rule reports."""
    for name, call in memory_calls(function):
        if name == "fault":
            yield from call.args[:1]
    for node in parts_of(function):
        if isinstance(node, ast.Assert) and node.msg:
            yield node.msg


def memory_calls(function: ast.FunctionDef) -> Iterator[tuple[str, ast.Call]]:
    """Each call of `memory.name(...)` or `anything.memory.name(...)`, with the name."""
    for node in parts_of(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if ast.unparse(node.func.value).split(".")[-1] == "memory":
                yield node.func.attr, node


def names_known(program: Program, function: ast.FunctionDef) -> Found:
    known = locals_of(function) | program.main.names() | set(dir(builtins))
    for node in parts_of(function):
        if isinstance(node, ast.Name) and node.id not in known:
            yield node, "D1", f"`{node.id}` is defined nowhere: import it, define it, or correct its name"


def builtins_used(program: Program, function: ast.FunctionDef) -> Found:
    own = locals_of(function) | program.main.names()
    for node in parts_of(function):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id in own:
            continue
        name = node.func.id
        if name not in ALLOWED_BUILTINS and hasattr(builtins, name):
            yield node, "D2", f"`{name}()` outside check: compiled code knows {', '.join(sorted(ALLOWED_BUILTINS))}"


# --- D3: access to memory


def export(program: Program, function: ast.FunctionDef) -> Found:
    for name, call in memory_calls(function):
        if name in WORLDLY:
            yield call, "D3", f"memory.{name}(): declare a struct and use its field"


def imports(source: Source) -> Found:
    for node in source.imports:
        for module in modules_imported(node):
            if not may_import(source, module):
                yield node, "D3", f"imports {module}: only siblings and heapwright's {', '.join(SHARED)}"
        for alias in node.names:
            name = alias.asname or alias.name
            if name in OF_AN_ALLOCATOR and source.bindings.get(name, NAMED).name == "":
                yield node, "D1", f"the room `{name}` has the name of a function of every allocator: rename it"


NAMED = Key(PACKAGE, "a name")


def modules_imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that a statement imports: `from heapwright import locks` imports heapwright.locks."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level or node.module is None:
        return ["." * node.level + (node.module or "")]
    is_of_ours = node.module in ("heapwright", "heapwright.layers")
    return [f"{node.module}.{alias.name}" for alias in node.names] if is_of_ours else [node.module]


def may_import(source: Source, module: str) -> bool:
    if module == "heapwright.traces.raw":
        return source.is_layer
    if module in ALLOWED_IMPORTS or module.startswith("heapwright.allocators."):
        return True
    is_sibling = "." not in module and (source.path.parent / f"{module}.py").is_file()
    return is_sibling or module.partition(".")[0] == source.package


# --- D4: state lies in the heap


def nothing_runs(source: Source, statement: ast.stmt) -> Found:
    """A module only defines names; a layer may also test what the allocator below it has."""
    if isinstance(statement, ast.If) and source.is_layer:
        return
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        yield statement, "D4", "assign a value to a plain name once: a module's own names are constants"
    elif not isinstance(statement, ast.Pass):
        yield statement, "D4", "a module runs nothing when it is loaded: the first call opens the heap"


def constant(program: Program, name: str, value: ast.expr) -> Found:
    source = program.main
    if not name.isupper() and not is_alias(source, value):
        yield value, "D4", f"`{name}` is a module's own name: write a constant in UPPER_CASE, or a field of Heap"
    for node in ast.walk(value):
        if isinstance(node, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
            yield node, "D4", f"`{name}` can change: make it a tuple, or a field of Heap"
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node, "D2", f"`{name}` is a float: {INSTEAD[float]}"
    yield from too_large(program, value)


def is_alias(source: Source, value: ast.expr) -> bool:
    """Whether a value is a function or struct of the allocator below, which the layer takes over."""
    is_choice = isinstance(value, ast.Call) and ast.unparse(value.func) == "getattr"
    return source.is_layer and (is_choice or isinstance(value, (ast.Name, ast.Attribute)))


def constants_kept(program: Program, function: ast.FunctionDef) -> Found:
    """A module's constant must not change, by index or by field."""
    own = program.main.names() - locals_of(function)
    for node in parts_of(function):
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            root = first_name(node)
            if root in own:
                yield node, "D4", f"`{root}` is a constant of the module: keep state in a field of Heap"


# --- D5: no recursion


def recursion(program: Program, exempt: set[Key]) -> Found:
    reported: set[Key] = set()
    for name, function in program.main.functions.items():
        key = Key(program.main.path, name)
        circle = program.circle(key)
        if circle and key not in exempt | reported:
            reported |= set(circle)
            way = " calls ".join(each.name for each in (*circle, key))
            yield function, "D5", f"recursion: {way}; write a loop"


Rule = Callable[[Program, ast.FunctionDef], Found]
FUNCTION_RULES: tuple[Rule, ...] = (
    signature,
    constructs,
    values,
    names_known,
    builtins_used,
    export,
    declared,
    constants_kept,
    numbers,
    one_type,
)
