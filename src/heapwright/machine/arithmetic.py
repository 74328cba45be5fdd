"""A check that an interpreted allocator's numbers fit into signed 64 bits.

Compiled code wraps silently, so a heap that is sound in the machine could be wrong once compiled. Before an allocator's
first call in the machine, its functions get code that tests each result that may not fit:

    size * 4    becomes    _fit_ if LEAST <= (_fit_ := size * 4) <= MOST else _refused_(_fit_)
    n >> k      becomes    n >> (_fit_ if 0 <= (_fit_ := k) <= 62 else _refused_shift_(_fit_))

That costs one or two comparisons for each `+`, `-`, `*` and `<<`: a few per cent of a call's time. The functions that
are compiled live in another process and stay unchanged. Code that only `check` and `lists` use may be any Python.
"""

from __future__ import annotations

import ast
import weakref
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from heapwright.dialect.source import COMPILED_ANEW, INTERFACE
from heapwright.machine.checked import MAX_WORD, MIN_WORD
from heapwright.machine.fault import NOWHERE, Fault, Kind
from heapwright.machine.source import PACKAGE
from heapwright.machine.watchdog import AT_WORK
from heapwright.reach import reachable

MAX_SHIFT = 62
CALLED = (*INTERFACE, "survey", "tune")
HARMLESS = {"check", "lists"}  # these are never compiled
SHIPPED = str(PACKAGE / "allocators") + "/"
OURS = {str(PACKAGE / name) for name in ("bits.py", "locks.py", "stats.py")}
WRAPPING = {*COMPILED_ANEW, "signed"}  # of bits.py: they mask their results
OUTGROWING = (ast.Add, ast.Sub, ast.Mult, ast.LShift, ast.Pow, ast.FloorDiv)
LISTS = (ast.List, ast.ListComp)  # only `check` may add these
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FIT, REFUSED, REFUSED_SHIFT = "_fit_", "_refused_", "_refused_shift_"

Codes = dict[tuple[str, int], tuple[CodeType, CodeType]]  # of a source: (name, line) -> (original code, checking code)

# --- reports of a number that does not fit


def refused(value: int) -> int:
    """Refuse the result of a calculation."""
    return refuse(value, f"the number {value} needs more than 64 bits")


def refused_shift(count: int) -> int:
    return refuse(count, f"a shift by {count}: shifts are by 0 to {MAX_SHIFT}")


def refuse(value: int, what: str) -> int:
    """Raise a fault if the running allocator will be compiled; otherwise return the number."""
    running = AT_WORK.call()
    if running is None or running[1][0] in HARMLESS:
        return value
    raise Fault(Kind.NUMBER, what, running[0], NOWHERE, who="allocator")


# --- replacing the code of functions

_known: weakref.WeakSet[Any] = weakref.WeakSet()  # the allocators whose functions check already


def look_at_numbers(allocator: Any) -> None:
    """Make the functions of an allocator (a stack or a single module) refuse numbers that do not fit."""
    parts = (allocator,) if isinstance(allocator, ModuleType) else getattr(allocator, "parts", ())
    if parts and allocator not in _known:
        _known.add(allocator)
        codes = cache(codes_of)  # hundreds of functions share a few sources, which are read once for each allocator
        for function in functions_of(parts):
            replace(function, codes)


def functions_of(parts: Iterable[ModuleType]) -> list[FunctionType]:
    """The functions that a program may call in the modules of a stack, and those that these use in their packages."""
    folders = {str(Path(str(part.__file__)).parent) for part in parts}

    def is_theirs(function: FunctionType) -> bool:
        file = function.__code__.co_filename
        return file in OURS or file.startswith(SHIPPED) or file.rpartition("/")[0] in folders

    called = [vars(part).get(name) for part in parts for name in CALLED]
    found = reachable([each for each in called if isinstance(each, FunctionType)], is_theirs)
    return [each for each in found if not (each.__name__ in WRAPPING and each.__code__.co_filename in OURS)]


def replace(function: FunctionType, codes: Callable[[str], Codes]) -> None:
    """Give a function the checking code, if its source file has not changed since it was loaded."""
    now = function.__code__
    as_it_is, looking = codes(now.co_filename).get((now.co_name, now.co_firstlineno), (None, None))
    if as_it_is and looking and traits(as_it_is) == traits(now):
        function.__globals__.update({REFUSED: refused, REFUSED_SHIFT: refused_shift})
        function.__code__ = looking


def traits(code: CodeType) -> tuple[Any, ...]:
    """The traits by which code from two versions of a source differs."""
    constants = [traits(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


def codes_of(file: str) -> Codes:
    try:
        return compiled(Path(file).read_text(), file)
    except (OSError, UnicodeDecodeError, SyntaxError):
        return {}


@lru_cache(256)
def compiled(text: str, file: str) -> Codes:
    """The functions of a source, compiled unchanged and with checks of their numbers."""
    before = functions_in(compile(text, file, "exec", dont_inherit=True))
    after = functions_in(compile(Looking().visit(ast.parse(text)), file, "exec", dont_inherit=True))
    return {key: (before[key], code) for key, code in after.items()}


def functions_in(code: CodeType) -> dict[tuple[str, int], CodeType]:
    return {(each.co_name, each.co_firstlineno): each for each in code.co_consts if isinstance(each, CodeType)}


# --- the checking code


class Looking(ast.NodeTransformer):
    """Wraps a comparison around each expression that may outgrow 64 bits."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return node if isinstance(node, SCOPES) else super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        """Visit the body only: Python refuses `_fit_ :=` in an annotation."""
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.RShift | ast.LShift) and not isinstance(node.right, ast.Constant):
            node.right = within(node.right, 0, MAX_SHIFT, REFUSED_SHIFT)
        return within(node, MIN_WORD, MAX_WORD, REFUSED) if may_outgrow(node) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        is_number = isinstance(node.operand, ast.Constant)
        return within(node, MIN_WORD, MAX_WORD, REFUSED) if isinstance(node.op, ast.USub) and not is_number else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        is_abs = isinstance(node.func, ast.Name) and node.func.id == "abs"
        return within(node, MIN_WORD, MAX_WORD, REFUSED) if is_abs else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        """`n += k`; the memory checks a number that is added to a field."""
        if not isinstance(node.target, ast.Name):
            self.generic_visit(node)
            return node
        name = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        value = self.visit(ast.copy_location(ast.BinOp(name, node.op, node.value), node))
        return ast.copy_location(ast.Assign([node.target], value), node)


def may_outgrow(node: ast.BinOp) -> bool:
    operands = (node.left, node.right)
    is_folded = all(isinstance(each, ast.Constant) for each in operands)
    return isinstance(node.op, OUTGROWING) and not is_folded and not any(isinstance(each, LISTS) for each in operands)


def within(node: ast.expr, minimum: int, maximum: int, refused_by: str) -> ast.expr:
    """`_fit_ if minimum <= (_fit_ := node) <= maximum else refused_by(_fit_)`, in place of the node."""
    here = {each: getattr(node, each) for each in node._attributes}
    named, fit = ast.NamedExpr(ast.Name(FIT, ast.Store(), **here), node, **here), ast.Name(FIT, ast.Load(), **here)
    limits = [ast.Constant(limit, **here) for limit in (minimum, maximum)]
    fits = ast.Compare(limits[0], [ast.LtE(), ast.LtE()], [named, limits[1]], **here)
    otherwise = ast.Call(ast.Name(refused_by, ast.Load(), **here), [fit], [], **here)
    return ast.IfExp(fits, fit, otherwise, **here)
