"""What the words of a struct are called."""

from __future__ import annotations

from typing import Any, NamedTuple

from heapwright.layout import ArrayKind, InlineKind, StructMeta


class Named(NamedTuple):
    """A field somewhere inside a struct."""

    path: str
    kind: Any


def named(struct: StructMeta, offset: int) -> Named:
    """The field at an offset of a struct, with the way to it: `anchor.next`, `bins[3]`."""
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
