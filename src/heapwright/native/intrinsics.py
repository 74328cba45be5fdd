"""What `heap.memory` and `heapwright.bits` mean in machine code."""

from __future__ import annotations

from types import FunctionType

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload, overload_attribute, overload_method

from heapwright import bits
from heapwright.native import (
    places,  # noqa: F401  gives arrays and atomics their meaning
)
from heapwright.native.c import declare, i32, random_word
from heapwright.native.pointers import MemoryType, i64
from heapwright.native.portable import given, portable
from heapwright.native.runtime import kernel, linux, recorder

i1, i8 = ir.IntType(1), ir.IntType(8)


def method(name: str):
    return overload_method(MemoryType, name)


# --- the kernel and the thread

for function in (*vars(kernel).values(), *vars(recorder).values()):
    if isinstance(function, FunctionType):
        portable(function)

method("sbrk")(lambda self, n: lambda self, n: kernel.sbrk(n))
method("mmap")(lambda self, size: lambda self, size: kernel.mmap(size))
method("munmap")(lambda self, address, size: lambda self, address, size: kernel.munmap(address, size))
method("decommit")(lambda self, address, size: lambda self, address, size: kernel.decommit(address, size))
method("local")(lambda self, slot: lambda self, slot: kernel.local(slot))
method("set_local")(lambda self, slot, value: lambda self, slot, value: kernel.set_local(slot, value))
method("thread_id")(lambda self: lambda self: kernel.thread_id())
method("wait")(lambda self, address, value: lambda self, address, value: kernel.wait(address, value))
method("wake")(lambda self, address: lambda self, address: kernel.wake(address))
method("held")(lambda self: lambda self: kernel.held())
method("most_held")(lambda self: lambda self: kernel.most_held())
method("growths")(lambda self: lambda self: kernel.growths())
method("shrinks")(lambda self: lambda self: kernel.shrinks())
method("decommits")(lambda self: lambda self: kernel.decommits())
method("stretch_start")(lambda self: lambda self: kernel.stretch_start())
method("piece_start")(lambda self: lambda self: kernel.piece_start())
method("stretch_end")(lambda self: lambda self: kernel.stretch_end())
method("set_errno")(lambda self, number: lambda self, number: kernel.set_errno(number))
method("random")(lambda self: lambda self: random_word())
overload_attribute(MemoryType, "PAGE")(lambda memory: lambda memory: linux.PAGE)


@method("mremap")
def memory_mremap(self, address, old_size, new_size, may_move):
    return lambda self, address, old_size, new_size, may_move: kernel.mremap(address, old_size, new_size, may_move)


@method("record")
def memory_record(self, operation, log2_align, address, old, size):
    return lambda self, operation, log2_align, address, old, size: recorder.record(
        operation, log2_align, address, old, size
    )


method("record_anew")(lambda self: lambda self: recorder.record_anew())


# --- bytes


@intrinsic
def fill(context, address, size, byte):
    def generate(context, builder, sig, args):
        target = builder.inttoptr(args[0], i8.as_pointer())
        memset = declare(builder, "llvm.memset.p0.i64", ir.VoidType(), [i8.as_pointer(), i8, i64, i1])
        builder.call(memset, [target, builder.trunc(args[2], i8), args[1], i1(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def copy(context, target, source, size):
    def generate(context, builder, sig, args):
        ends = [builder.inttoptr(each, i8.as_pointer()) for each in args[:2]]
        memmove = declare(builder, "llvm.memmove.p0.p0.i64", ir.VoidType(), [i8.as_pointer()] * 2 + [i64, i1])
        builder.call(memmove, [*ends, args[2], i1(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@method("fill")
def memory_fill(self, address, size, byte):
    return lambda self, address, size, byte: fill(address, size, byte)


@method("copy")
def memory_copy(self, target, source, size):
    return lambda self, target, source, size: copy(target, source, size)


@intrinsic
def relax(context):
    def generate(context, builder, sig, args):
        builder.call(declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), generate


@method("relax")
def memory_relax(self):
    return lambda self: relax()


@intrinsic
def cycles(context):
    """The processor's clock, read when all before is done and before anything after begins.

    It ticks steadily on processors with `constant_tsc`: x86-64 since about 2008.
    """

    def generate(context, builder, sig, args):
        fence = declare(builder, "llvm.x86.sse2.lfence", ir.VoidType(), [])
        builder.call(fence, [])
        now = builder.call(declare(builder, "llvm.readcyclecounter", i64, []), [])
        builder.call(fence, [])
        return now

    return types.int64(), generate


@intrinsic
def single_threaded(context):
    """glibc's own flag (2.32 and later): false for good once a second thread was started."""

    def generate(context, builder, sig, args):
        flag = cgutils.add_global_variable(builder.module, i8, "__libc_single_threaded")
        flag.linkage = "external"
        return builder.zext(builder.load(flag), i64)

    return types.int64(), generate


@method("single_threaded")
def memory_single_threaded(self):
    return lambda self: single_threaded()


@intrinsic(prefer_literal=True)
def fault(context, what, address):
    """Print one line and abort: `heapwright: double free: 0x55...`."""
    if not isinstance(what, types.StringLiteral):
        return None

    def generate(context, builder, sig, args):
        dprintf = declare(builder, "dprintf", i32, [i32, i8.as_pointer()], variadic=True)
        text = f"heapwright: {what.literal_value}: %p\n"
        constant = context.insert_const_string(builder.module, text)
        builder.call(dprintf, [i32(2), constant, args[1]])
        builder.call(declare(builder, "abort", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(what, types.int64), generate


@overload_method(MemoryType, "fault", prefer_literal=True)
def memory_fault(self, what, address):
    if isinstance(what, types.StringLiteral):
        text = what.literal_value
        return lambda self, what, address: fault(text, address)
    return None


# --- bits


@intrinsic
def leading_zeros(context, n):
    return types.int64(types.int64), counter("llvm.ctlz.i64", i1(1))


@intrinsic
def trailing_zeros(context, n):
    return types.int64(types.int64), counter("llvm.cttz.i64", i1(1))


@intrinsic
def population(context, n):
    return types.int64(types.int64), counter("llvm.ctpop.i64")


def counter(name: str, *more):
    def generate(context, builder, sig, args):
        return builder.call(declare(builder, name, i64, [i64, *(each.type for each in more)]), [args[0], *more])

    return generate


@intrinsic
def logical_shift(context, n, k):
    return types.int64(types.int64, types.int64), lambda context, builder, sig, args: builder.lshr(*args)


@intrinsic
def unsigned_less(context, a, b):
    def generate(context, builder, sig, args):
        return builder.icmp_unsigned("<", *args)

    return types.boolean(types.int64, types.int64), generate


for python, compiled in (
    (bits.floor_log2, lambda n: lambda n: 63 - leading_zeros(n)),
    (bits.lowest_bit, lambda n: lambda n: trailing_zeros(n)),
    (bits.count_bits, lambda n: lambda n: population(n)),
    (bits.shift_right, lambda n, k: lambda n, k: logical_shift(n, k)),
    (bits.below, lambda a, b: lambda a, b: unsigned_less(a, b)),
    (bits.times, lambda a, b: lambda a, b: a * b),
):
    overload(python)(compiled)
    given(python)
