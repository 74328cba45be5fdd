"""The source of an allocator as its constants configure it: without the branches that they switch off.

A variant sets constants such as `hardened.HARDENED`, and the compiler folds the conditions on them. A bug in a branch
that is switched off is no bug of this allocator, and no check of it can find one.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from heapwright.dialect.source import Program, Source, first_name

CONSTANT_PARTS = ast.Compare | ast.Constant | ast.BoolOp | ast.BinOp | ast.UnaryOp
GLUE = ast.operator | ast.unaryop | ast.boolop | ast.cmpop | ast.expr_context


def configured(module: ModuleType) -> ast.Module:
    """The syntax tree of a module's file, folded by the module's own constants."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    return Folding(vars(module)).visit(tree)  # type: ignore[no-any-return]


class Configured(Program):
    """A program in which the given modules are folded. Other modules are read as they are."""

    def __init__(self, path: Path, modules: Iterable[ModuleType]):
        self.modules = {Path(module.__file__).resolve(): module for module in modules if module.__file__}
        super().__init__(path)

    def source(self, path: Path) -> Source:
        if path not in self.sources and path in self.modules:
            self.sources[path] = Source(path, ast.unparse(configured(self.modules[path])))
        return super().source(path)


class Folding(ast.NodeTransformer):
    """Replaces each condition that constants decide by what follows from it."""

    def __init__(self, constants: dict[str, Any]):
        self.constants = constants

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        known = self.value(node.test)
        if known is None:
            return node
        return (node.body if known else node.orelse) or ast.copy_location(ast.Pass(), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        known = self.value(node.test)
        return node if known is None else node.body if known else node.orelse

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Leave out operands that do not matter, and all that come after one that decides."""
        self.generic_visit(node)
        deciding = isinstance(node.op, ast.Or)
        left: list[ast.expr] = []
        for operand in node.values:
            known = self.value(operand)
            if known is None or (decides := bool(known) == deciding):
                left.append(operand)
            if known is not None and decides:
                break
        node.values = left or node.values[-1:]
        return node if len(node.values) > 1 else node.values[0]

    def value(self, node: ast.expr) -> Any:
        """What an expression of constants alone is; None for any other."""
        if not self.is_constant(node):
            return None
        return eval(ast.unparse(node), self.constants, vars(builtins))  # noqa: S307

    def is_constant(self, node: ast.AST) -> bool:
        match node:
            case ast.Name(id=name):
                return name.isupper() and name in self.constants
            case ast.Attribute(attr=name):
                return name.isupper() and isinstance(self.constants.get(first_name(node)), ModuleType)
            case _ if isinstance(node, CONSTANT_PARTS):
                return all(self.is_constant(part) for part in ast.iter_child_nodes(node))
        return isinstance(node, GLUE)
