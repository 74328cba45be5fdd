"""The C library and the library's own words, as functions of compiled code.

A C function is declared once with `c_function`; numbers are 64-bit on our side and cut or extended to its own
widths; pointers are longs. `heap_words`, `runtime_words` and `thread_words` are addresses inside the library:
functions that only its own module defines, so that Numba's in-process engine never meets their relocations.
"""

from __future__ import annotations

from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from heapwright.native.pointers import MEMORY, i64

i32 = ir.IntType(32)
WIDTHS = {"int": i32, "long": i64}


def declare(builder, name, result, arguments, variadic=False):
    kind = ir.FunctionType(result, arguments, var_arg=variadic)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def c_function(name: str, result: str = "long", *arguments: str):
    """A C function of ints and longs, callable from compiled code."""
    widths = [WIDTHS[each] for each in arguments]

    def generate(context, builder, sig, args):
        cut = [builder.trunc(each, width) if width is i32 else each for each, width in zip(args, widths, strict=True)]
        answer = builder.call(declare(builder, name, WIDTHS[result], widths), cut)
        return builder.sext(answer, i64) if result == "int" else answer

    return intrinsic(typing_of(len(arguments), generate))


def typing_of(arity: int, generate):
    """A typing function with `arity` named arguments, as `intrinsic` wants one."""
    names = "".join(f", a{i}" for i in range(arity))
    scope = {"signature": types.int64(*[types.int64] * arity), "generate": generate}
    exec(f"def typed(context{names}):\n    return signature, generate", scope)  # noqa: S102  a signature of any length
    return scope["typed"]


def own_function(name: str):
    """A function that the library's own module defines; Numba's engine resolves it and never calls it."""
    if not llvm.address_of_symbol(name):
        llvm.add_symbol(name, 1)
    return c_function(name)


heap_words = own_function("heapwright_heap_words")
runtime_words = own_function("heapwright_runtime_words")
thread_words = own_function("heapwright_thread_words")
random_word = own_function("heapwright_random")

sbrk = c_function("sbrk", "long", "long")
mmap = c_function("mmap", "long", "long", "long", "int", "int", "int", "long")
munmap = c_function("munmap", "int", "long", "long")
mremap = c_function("mremap", "long", "long", "long", "long", "int")
madvise = c_function("madvise", "int", "long", "long", "int")
syscall = c_function("syscall", "long", "long", "long", "long", "long", "long", "long")
errno_place = c_function("__errno_location")


@intrinsic
def process_memory(context):
    return MEMORY(), lambda context, builder, sig, args: context.get_dummy_value()


@intrinsic
def load_int(context, address):
    def generate(context, builder, sig, args):
        return builder.sext(builder.load(builder.inttoptr(args[0], i32.as_pointer())), i64)

    return types.int64(types.int64), generate


@intrinsic
def store_int(context, address, value):
    def generate(context, builder, sig, args):
        builder.store(builder.trunc(args[1], i32), builder.inttoptr(args[0], i32.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
