"""Array and atomic fields in machine code: places inside a struct that have operations."""

from __future__ import annotations

import operator

from numba.core import types
from numba.extending import intrinsic, overload, overload_attribute, overload_method

from heapwright.native.pointers import ArrayType, AtomicType, i64, read, type_of, word, write

# --- arrays


@intrinsic
def address_in_place(context, place):
    return types.int64(place), lambda context, builder, sig, args: args[0]


@overload_attribute(ArrayType, "address")
def array_address(array):
    return lambda array: address_in_place(array)


@overload_method(ArrayType, "at")
def array_at(array, index):
    size = array.kind.element.size
    return lambda array, index: address_in_place(array) + index * size


@overload(len)
def array_length(array):
    if isinstance(array, ArrayType):
        count = array.kind.count
        return lambda array: count
    return None


@intrinsic
def element(context, array, index):
    def generate(context, builder, sig, args):
        return read(builder, array.kind.element, place_of(context, builder, sig, args))

    return type_of(array.kind.element, f"{array.name}[]")(array, types.int64), generate


def place_of(context, builder, sig, args):
    size = sig.args[0].kind.element.size
    return builder.add(args[0], builder.mul(args[1], i64(size)))


@overload(operator.getitem)
def array_get(array, index):
    if isinstance(array, ArrayType):
        return lambda array, index: element(array, index)
    return None


@intrinsic
def set_element(context, array, index, value):
    def generate(context, builder, sig, args):
        given = word(context, builder, sig.args[2], args[2])
        write(builder, array.kind.element, place_of(context, builder, sig, args), given)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), generate


@overload(operator.setitem)
def array_set(array, index, value):
    if isinstance(array, ArrayType):
        return lambda array, index, value: set_element(array, index, value)
    return None


# --- atomics


def cell_type(atomic):
    return type_of(atomic.cell, "")


def cell_pointer(builder, address):
    return builder.inttoptr(address, i64.as_pointer())


@intrinsic
def atomic_load(context, atomic):
    def generate(context, builder, sig, args):
        return builder.load_atomic(cell_pointer(builder, args[0]), "acquire", 8)

    return cell_type(atomic)(atomic), generate


@intrinsic
def atomic_store(context, atomic, value):
    def generate(context, builder, sig, args):
        given = word(context, builder, sig.args[1], args[1])
        builder.store_atomic(given, cell_pointer(builder, args[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(atomic, value), generate


@intrinsic
def atomic_exchange(context, atomic, value):
    def generate(context, builder, sig, args):
        given = word(context, builder, sig.args[1], args[1])
        return builder.atomic_rmw("xchg", cell_pointer(builder, args[0]), given, "acq_rel")

    return cell_type(atomic)(atomic, value), generate


@intrinsic
def atomic_compare_exchange(context, atomic, expected, value):
    def generate(context, builder, sig, args):
        old, new = (word(context, builder, kind, each) for kind, each in zip(sig.args[1:], args[1:], strict=True))
        done = builder.cmpxchg(cell_pointer(builder, args[0]), old, new, "acq_rel", "acquire")
        return builder.extract_value(done, 1)

    return types.boolean(atomic, expected, value), generate


@intrinsic
def atomic_add(context, atomic, value):
    def generate(context, builder, sig, args):
        return builder.atomic_rmw("add", cell_pointer(builder, args[0]), args[1], "acq_rel")

    return types.int64(atomic, types.int64), generate


@overload_method(AtomicType, "load")
def load_method(self):
    return lambda self: atomic_load(self)


@overload_method(AtomicType, "store")
def store_method(self, value):
    return lambda self, value: atomic_store(self, value)


@overload_method(AtomicType, "exchange")
def exchange_method(self, value):
    return lambda self, value: atomic_exchange(self, value)


@overload_method(AtomicType, "compare_exchange")
def compare_exchange_method(self, expected, value):
    return lambda self, expected, value: atomic_compare_exchange(self, expected, value)


@overload_method(AtomicType, "add")
def add_method(self, value):
    return lambda self, value: atomic_add(self, value)


@overload_attribute(AtomicType, "address")
def atomic_address(atomic):
    return lambda atomic: address_in_place(atomic)
