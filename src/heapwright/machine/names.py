"""Names and contents of the words of a struct."""

from __future__ import annotations

from typing import Any, NamedTuple

from heapwright.layout import ArrayKind, AtomicKind, InlineKind, Pointer, Struct, StructMeta
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN
from heapwright.machine.state import ProcessState


class Named(NamedTuple):
    """A field somewhere inside a struct."""

    path: str
    kind: Any


def named(struct: StructMeta, offset: int) -> Named:
    """The field at an offset of a struct, with its path: `anchor.next`, `bins[3]`."""
    for each in struct:
        if each.offset <= offset < each.offset + each.kind.size:
            return inside(Named(each.name, each.kind), offset - each.offset)
    return Named(f"+{offset}", None)


def inside(outer: Named, offset: int) -> Named:
    kind = outer.kind
    if isinstance(kind, ArrayKind):
        index, rest = divmod(offset, kind.element.size)
        return inside(Named(f"{outer.path}[{index}]", kind.element), rest)
    if isinstance(kind, InlineKind):
        inner = named(kind.struct, offset)
        return Named(f"{outer.path}.{inner.path}", inner.kind)
    return outer


def contents(process: ProcessState, pointer: Struct) -> str:
    """A struct's fields: `: next 0x4000, units 3`. A `?` is memory that nobody owns or that was never written."""
    parts = [f"{each.name} {value(process, pointer.address + each.offset, each.kind)}" for each in type(pointer)]
    return f": {', '.join(parts)}" if parts else ""


def value(process: ProcessState, address: int, kind: Any) -> str:
    """The value of a field; an array or an inline struct is shown as its kind."""
    cell = kind.cell if isinstance(kind, AtomicKind) else kind
    if isinstance(cell, ArrayKind | InlineKind):
        return f"{cell!r}"
    if not all(code & (ALLOCATOR | USER) and code & WRITTEN for code in process.space.shadow.read(address, cell.size)):
        return "?"
    number = int.from_bytes(process.peek(address, cell.size), "little", signed=cell.size == 8)
    return (f"{number:#x}" if number else "null") if isinstance(cell, Pointer) else f"{number:,}"
