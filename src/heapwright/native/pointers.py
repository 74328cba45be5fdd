"""`layout` in machine code: a pointer is an address in a register, and a field access is one load or store.

The types mirror the kinds of `layout`: PointerType for structs, ArrayType and AtomicType for fields that lie in place,
StructClass for the name of a struct (`Block(memory, address)`, `Block.SIZE`, `Block.next.offset`).
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_constant
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_builtin,
    lower_cast,
    lower_getattr_generic,
    lower_setattr_generic,
    overload,
    overload_method,
    typeof_impl,
)

from heapwright.layout import (
    ArrayKind,
    AtomicKind,
    Field,
    InlineKind,
    Pointer,
    Scalar,
    StructMeta,
)

i64 = ir.IntType(64)


# --- types


class MemoryType(types.Opaque):
    """The process's own memory. It has operations but no value."""


MEMORY = MemoryType("memory")


class PlaceType(types.Type):
    """A type whose value is an address, where the compiler knows what lies there."""


class PointerType(PlaceType):
    def __init__(self, struct: StructMeta):
        self.struct = struct
        super().__init__(f"pointer({name_of(struct)})")


class ArrayType(PlaceType):
    def __init__(self, kind: ArrayKind, where: str):
        self.kind = kind
        super().__init__(f"array({where})")


class AtomicType(PlaceType):
    def __init__(self, cell: Scalar | Pointer):
        self.cell = cell
        super().__init__(f"atomic({cell_name(cell)})")


class StructClass(types.Callable, types.Opaque):
    """A struct's name as a value: calling it makes a pointer."""

    def __init__(self, struct: StructMeta):
        self.struct = struct
        super().__init__(f"struct({name_of(struct)})")

    def get_call_type(self, context, args, kws):
        return signature(PointerType(self.struct), MEMORY, types.int64)

    def get_call_signatures(self):
        return (), False

    def get_impl_key(self, sig):
        return type(self)


class FieldType(types.Opaque):
    def __init__(self, field: Field, where: str):
        self.field = field
        super().__init__(f"field({where}.{field.name})")


def name_of(struct: StructMeta) -> str:
    return f"{struct.__module__}.{struct.__qualname__}"


def cell_name(cell: Scalar | Pointer) -> str:
    return name_of(cell.struct) if isinstance(cell, Pointer) else cell.name


for opaque in (MemoryType, StructClass, FieldType):
    register_default(opaque)(models.OpaqueModel)


@register_default(PointerType)
@register_default(ArrayType)
@register_default(AtomicType)
class PlaceModel(models.PrimitiveModel):
    def __init__(self, manager, place):
        super().__init__(manager, place, i64)


@typeof_impl.register(StructMeta)
def typeof_struct(struct, context):
    return StructClass(struct)


@lower_constant(StructClass)
@lower_constant(FieldType)
def constant_name(context, builder, kind, value):
    return context.get_dummy_value()


# --- kinds of field


def type_of(kind, where: str):
    """The type that a field of this kind has when it is read."""
    if isinstance(kind, Pointer | InlineKind):
        return PointerType(kind.struct)
    if isinstance(kind, ArrayKind):
        return ArrayType(kind, where)
    return AtomicType(kind.cell) if isinstance(kind, AtomicKind) else types.int64


def read(builder, kind, address):
    """Load a number or a pointer. For a field that lies in place, the result is its address."""
    if isinstance(kind, InlineKind | ArrayKind | AtomicKind):
        return address
    width = ir.IntType(8 * kind.size)
    value = builder.load(builder.inttoptr(address, width.as_pointer()))
    return value if kind.size == 8 else builder.zext(value, i64)


def write(builder, kind, address, value):
    width = ir.IntType(8 * kind.size)
    value = value if kind.size == 8 else builder.trunc(value, width)
    builder.store(value, builder.inttoptr(address, width.as_pointer()))


def word(context, builder, given, value):
    """The word to store for a number or a pointer."""
    return value if isinstance(given, PlaceType) else context.cast(builder, value, given, types.int64)


def offset(builder, address, n: int):
    return builder.add(address, i64(n)) if n else address


# --- pointers


@lower_builtin(StructClass, types.VarArg(types.Any))
def call_struct(context, builder, sig, args):
    return args[-1]


@infer_getattr
class PointerAttributes(AttributeTemplate):
    key = PointerType

    def generic_resolve(self, pointer, name):
        if name == "address":
            return types.int64
        if name == "memory":
            return MEMORY
        field = pointer.struct.fields.get(name)
        return field and type_of(field.kind, f"{name_of(pointer.struct)}.{name}")


@lower_getattr_generic(PointerType)
def get_field(context, builder, pointer, value, name):
    if name == "address":
        return value
    if name == "memory":
        return context.get_dummy_value()
    field = pointer.struct.fields[name]
    return read(builder, field.kind, offset(builder, value, field.offset))


@lower_setattr_generic(PointerType)
def set_field(context, builder, sig, args, name):
    pointer, given = sig.args
    field = pointer.struct.fields[name]
    if not isinstance(field.kind, Scalar | Pointer):
        raise TypeError(f"{field.name} lies in place: assign to what is inside it")
    write(builder, field.kind, offset(builder, args[0], field.offset), word(context, builder, given, args[1]))


@lower_cast(types.Integer, PointerType)
def address_as_pointer(context, builder, given, pointer, value):
    """Cast an address to a pointer, so that it can be assigned to a pointer field."""
    return context.cast(builder, value, given, types.int64)


@infer_global(bool)
class PointerTruth(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 1 and isinstance(args[0], PointerType):
            return signature(types.boolean, args[0])
        return None


@lower_builtin(bool, PointerType)
def pointer_truth(context, builder, sig, args):
    return builder.icmp_signed("!=", args[0], i64(0))


@overload(operator.not_)
def pointer_is_null(a):
    if isinstance(a, PointerType):
        return lambda a: a.address == 0
    return None


@overload(operator.eq)
def pointers_equal(a, b):
    if isinstance(a, PointerType) and isinstance(b, PointerType):
        return lambda a, b: a.address == b.address
    return None


@overload(operator.ne)
def pointers_differ(a, b):
    if isinstance(a, PointerType) and isinstance(b, PointerType):
        return lambda a, b: a.address != b.address
    return None


@intrinsic
def point(context, pointer, address):
    return pointer(pointer, types.int64), lambda context, builder, sig, args: args[1]


@overload_method(PointerType, "at")
def pointer_at(self, address):
    return lambda self, address: point(self, address)


# --- names of structs and fields


@infer_getattr
class StructAttributes(AttributeTemplate):
    key = StructClass

    def generic_resolve(self, kind, name):
        if name == "SIZE":
            return types.int64
        field = kind.struct.fields.get(name)
        return field and FieldType(field, name_of(kind.struct))


@lower_getattr_generic(StructClass)
def get_of_struct(context, builder, kind, value, name):
    return i64(kind.struct.SIZE) if name == "SIZE" else context.get_dummy_value()


@infer_getattr
class FieldAttributes(AttributeTemplate):
    key = FieldType

    def generic_resolve(self, kind, name):
        return types.int64 if name == "offset" else None


@lower_getattr_generic(FieldType)
def get_of_field(context, builder, kind, value, name):
    return i64(kind.field.offset)
