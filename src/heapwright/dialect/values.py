"""The linter's rules about values: numbers that fit and are fast (D6, D7), and one type for a name (D10)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from heapwright.dialect.source import Found, Program, parts_of

MAX_WORD = (1 << 63) - 1
MAX_SHIFT = 62

# --- D6 and D7: numbers


def numbers(program: Program, function: ast.FunctionDef) -> Found:
    for statement in function.body:
        yield from too_large(program, statement)
    for node in parts_of(function):
        if isinstance(node, (ast.BinOp, ast.AugAssign)):
            yield from arithmetic(program, node)
        elif isinstance(node, ast.Attribute) and node.attr in ("bit_length", "bit_count"):
            yield node, "D6", f".{node.attr}(): use floor_log2 or count_bits of heapwright.bits"


def too_large(program: Program, node: ast.AST) -> Found:
    """The largest constant expressions whose values do not fit."""
    value = program.fold(node)
    if value is None:
        for child in ast.iter_child_nodes(node):
            yield from too_large(program, child)
    elif not -MAX_WORD - 1 <= value <= MAX_WORD and not isinstance(node, ast.Name):
        yield (
            node,
            "D6",
            f"{ast.unparse(node)} does not fit signed 64 bits: see wrapping_add and wrapping_mul of heapwright.bits",
        )


def arithmetic(program: Program, node: ast.BinOp | ast.AugAssign) -> Found:
    right = node.right if isinstance(node, ast.BinOp) else node.value
    by = program.fold(right)
    if isinstance(node.op, (ast.LShift, ast.RShift)):
        if by is not None and not 0 <= by <= MAX_SHIFT and program.fold(node) is None:
            yield node, "D6", f"a shift by {by}: shifts are by 0 to {MAX_SHIFT}; use shift_right of heapwright.bits"
    elif isinstance(node.op, ast.Pow):
        yield node, "D7", "`**`: shift, if it is a power of two"
    elif isinstance(node.op, (ast.FloorDiv, ast.Mod)) and program.fold(node) is None and not is_cheap(right, by):
        yield node, "D7", f"divides by {ast.unparse(right)}: shift or mask by a power of two where it must be fast"


def is_cheap(divisor: ast.expr, value: int | None) -> bool:
    """Whether a divisor is a power of two, or a constant that only the compiler knows, such as memory.PAGE."""
    if value is not None:
        return value > 0 and value & (value - 1) == 0
    return isinstance(divisor, ast.Attribute) and divisor.attr.isupper()


# --- D10: one type for a name


def one_type(program: Program, function: ast.FunctionDef) -> Found:
    known: dict[str, str] = {}
    for name, value in assigned(function):
        for kind in kinds(program, value):
            if known.setdefault(name, kind) != kind:
                both = f"{known[name]} and {kind}"
                yield value, "D10", f"{name} is {both}: use a name for each; a null pointer is pointer.at(NULL)"


def assigned(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Each local name with a value assigned to it, and each value that is returned."""
    for node in parts_of(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield "the result", node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield f"`{target.id}`", node.value


def kinds(program: Program, value: ast.expr) -> Iterator[str]:
    """The kind of a value where it is known: a number, or a pointer to a struct."""
    if isinstance(value, ast.IfExp):
        yield from kinds(program, value.body)
        yield from kinds(program, value.orelse)
    elif isinstance(value, ast.Call) and (struct := program.struct_named(value.func)):
        yield f"a pointer to {struct}"
    elif isinstance(value, ast.BinOp) or program.fold(value) is not None or is_address(value):
        yield "a number"


def is_address(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr == "address"
