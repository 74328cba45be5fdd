"""`heap.memory` and `heapwright.bits` in machine code."""

from __future__ import annotations

from types import FunctionType

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload, overload_attribute, overload_method

from heapwright import bits, memory
from heapwright.native import (
    places,  # noqa: F401  defines arrays and atomics in machine code
)
from heapwright.native.c import call_with, call_with_two, declare, text
from heapwright.native.pointers import MemoryType, i64
from heapwright.native.portable import given, portable
from heapwright.native.runtime import frames, kernel, linux, misuse, phases, recorder, settings, signals, stops
from heapwright.native.runtime.stacks import callers, sites

i1, i8 = ir.IntType(1), ir.IntType(8)


def method(name: str):
    return overload_method(MemoryType, name)


# --- the kernel and the thread

for function in (
    *vars(kernel).values(),
    *vars(recorder).values(),
    *vars(phases).values(),
    *vars(sites).values(),
    *vars(settings).values(),
    *vars(misuse).values(),
    *vars(signals).values(),
    *vars(callers).values(),
    *vars(frames).values(),
    *vars(stops).values(),
):
    if isinstance(function, FunctionType):
        portable(function)

method("sbrk")(lambda self, n: lambda self, n: kernel.sbrk(n))
method("mmap")(lambda self, size: lambda self, size: kernel.mmap(size))
method("munmap")(lambda self, address, size: lambda self, address, size: kernel.munmap(address, size))
method("decommit")(lambda self, address, size: lambda self, address, size: kernel.decommit(address, size))
method("is_mapped")(lambda self, address: lambda self, address: kernel.is_mapped(address))
method("local")(lambda self, slot: lambda self, slot: kernel.local(slot))
method("set_local")(lambda self, slot, value: lambda self, slot, value: kernel.set_local(slot, value))
method("thread_id")(lambda self: lambda self: kernel.thread_id())
method("wait")(lambda self, address, value: lambda self, address, value: kernel.wait(address, value))
method("wake")(lambda self, address: lambda self, address: kernel.wake(address))
method("held")(lambda self: lambda self: kernel.held())
method("peak_held")(lambda self: lambda self: kernel.peak_held())
method("growths")(lambda self: lambda self: kernel.growths())
method("shrinks")(lambda self: lambda self: kernel.shrinks())
method("decommits")(lambda self: lambda self: kernel.decommits())
method("extent_start")(lambda self: lambda self: kernel.extent_start())
method("piece_start")(lambda self: lambda self: kernel.piece_start())
method("extent_end")(lambda self: lambda self: kernel.extent_end())
method("set_errno")(lambda self, number: lambda self, number: kernel.set_errno(number))
method("setting")(lambda self, option: lambda self, option: settings.setting(option))
method("random")(lambda self: lambda self: kernel.random())
method("clock")(lambda self: lambda self: kernel.clock())
overload_attribute(MemoryType, "PAGE")(lambda memory: lambda memory: linux.PAGE)
overload_attribute(MemoryType, "MAX_SBRK")(lambda memory: lambda memory: bits.MAX_WORD)


method("spare_frames")(lambda self, count: lambda self, count: frames.spare_frames(count))
method("drop_frames")(lambda self, start, count: lambda self, start, count: frames.drop_frames(start, count))
method("save_frame")(lambda self, spare, page: lambda self, spare, page: frames.save_frame(spare, page))
method("take_frame")(lambda self, spare, page: lambda self, spare, page: frames.take_frame(spare, page))
method("stop_others")(lambda self: lambda self: stops.stop_others())
method("resume_others")(lambda self: lambda self: stops.resume_others())


@method("alias_frame")
def memory_alias_frame(self, source, target, parts):
    return lambda self, source, target, parts: frames.alias_frame(source, target, parts)


@method("part_frame")
def memory_part_frame(self, page, is_last, keeps):
    return lambda self, page, is_last, keeps: frames.part_frame(page, is_last, keeps)


@method("protect")
def memory_protect(self, address, size, is_protected):
    return lambda self, address, size, is_protected: signals.protect(address, size, is_protected)


@method("note_caller")
def memory_note_caller(self, address, size):
    return lambda self, address, size: callers.note_caller(address, size)


@method("mremap")
def memory_mremap(self, address, old_size, new_size, may_move):
    return lambda self, address, old_size, new_size, may_move: kernel.mremap(address, old_size, new_size, may_move)


@method("record")
def memory_record(self, operation, log2_align, address, old, size):
    return lambda self, operation, log2_align, address, old, size: sites.record(
        operation, log2_align, address, old, size
    )


method("record_anew")(lambda self: lambda self: sites.record_anew())


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


@intrinsic
def load_word(context, address):
    def generate(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], i64.as_pointer()))

    return types.int64(types.int64), generate


@intrinsic
def store_word(context, address, word):
    def generate(context, builder, sig, args):
        builder.store(args[1], builder.inttoptr(args[0], i64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@portable
def load_tail(address):
    return load_word(address & -8) & (-1 << ((address & 7) << 3))


@portable
def store_tail(address, word):
    """The bytes before the address are stored again as they are."""
    kept = ~(-1 << ((address & 7) << 3))
    store_word(address & -8, load_word(address & -8) & kept | word & ~kept)


method("load_tail")(lambda self, address: lambda self, address: load_tail(address))
method("store_tail")(lambda self, address, word: lambda self, address, word: store_tail(address, word))


@method("fill")
def memory_fill(self, address, size, byte):
    return lambda self, address, size, byte: fill(address, size, byte)


@method("copy")
def memory_copy(self, target, source, size):
    return lambda self, target, source, size: copy(target, source, size)


@method("call")
def memory_call(self, function, address, size):
    return lambda self, function, address, size: call_with_two(function, address, size)


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
    """The processor's clock, read after all earlier instructions are done and before any later one begins.

    It ticks at a constant rate on processors with `constant_tsc`: x86-64 since about 2008.
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
    """glibc's own flag (2.32 and later): false for good once a second thread has started."""

    def generate(context, builder, sig, args):
        flag = cgutils.add_global_variable(builder.module, i8, "__libc_single_threaded")
        flag.linkage = "external"
        return builder.zext(builder.load(flag), i64)

    return types.int64(), generate


@method("single_threaded")
def memory_single_threaded(self):
    return lambda self: single_threaded()


@intrinsic
def fetch(context, address):
    def generate(context, builder, sig, args):
        place = builder.inttoptr(args[0], i8.as_pointer())
        start = declare(builder, "llvm.prefetch.p0", ir.VoidType(), [i8.as_pointer(), *[ir.IntType(32)] * 3])
        builder.call(start, [place, *map(ir.IntType(32), (0, 3, 1))])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(types.int64), generate


@method("call_with")
def memory_call_with(self, function, a, b, c, d):
    return lambda self, function, a, b, c, d: call_with(function, a, b, c, d)


@overload_method(MemoryType, "fault", prefer_literal=True)
def memory_fault(self, what, address, size=0):
    if isinstance(what, types.StringLiteral):
        words = what.literal_value
        return lambda self, what, address, size=0: misuse.report(text(words), address, size)
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
    (bits.unsigned_less, lambda a, b: lambda a, b: unsigned_less(a, b)),
    (bits.wrapping_add, lambda a, b: lambda a, b: a + b),
    (bits.wrapping_mul, lambda a, b: lambda a, b: a * b),
    (memory.prefetch, lambda address: lambda address: fetch(address)),
):
    overload(python)(compiled)
    given(python)
