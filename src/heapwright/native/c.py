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

from heapwright.layout import WORD
from heapwright.native.pointers import MEMORY, PointerType, i64

i32 = ir.IntType(32)
pointer = ir.IntType(8).as_pointer()
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


def own_function(name: str, *arguments: str):
    """A function that the library's own module defines; Numba's engine resolves it and never calls it."""
    if not llvm.address_of_symbol(name):
        llvm.add_symbol(name, 1)
    return c_function(name, "long", *arguments)


heap_words = own_function("heapwright_heap_words")
runtime_words = own_function("heapwright_runtime_words")
thread_words = own_function("heapwright_thread_words")
recorder_words = own_function("heapwright_recorder_words")
random_word = own_function("heapwright_random")

sbrk = c_function("sbrk", "long", "long")
mmap = c_function("mmap", "long", "long", "long", "int", "int", "int", "long")
munmap = c_function("munmap", "int", "long", "long")
mremap = c_function("mremap", "long", "long", "long", "long", "int")
madvise = c_function("madvise", "int", "long", "long", "int")
syscall = c_function("syscall", "long", "long", "long", "long", "long", "long", "long")
errno_place = c_function("__errno_location")
pthread_setspecific = c_function("pthread_setspecific", "int", "int", "long")
list_lock = c_function("_IO_list_lock")
list_unlock = c_function("_IO_list_unlock")
list_reset = c_function("_IO_list_resetlock")
pthread_create = c_function("pthread_create", "int", "long", "long", "long", "long")
pthread_join = c_function("pthread_join", "int", "long", "long")
pthread_barrier_init = c_function("pthread_barrier_init", "int", "long", "long", "int")
pthread_barrier_wait = c_function("pthread_barrier_wait", "int", "long")
sched_yield = c_function("sched_yield", "int")
sched_setaffinity = c_function("sched_setaffinity", "int", "int", "long", "long")

libc_malloc = c_function("__libc_malloc", "long", "long")
libc_calloc = c_function("__libc_calloc", "long", "long", "long")
libc_realloc = c_function("__libc_realloc", "long", "long", "long")
libc_memalign = c_function("__libc_memalign", "long", "long", "long")
libc_free = c_function("__libc_free", "long", "long")

malloc = c_function("malloc", "long", "long")
calloc = c_function("calloc", "long", "long", "long")
realloc = c_function("realloc", "long", "long", "long")
memalign = c_function("memalign", "long", "long", "long")
free = c_function("free", "long", "long")
malloc_usable_size = c_function("malloc_usable_size", "long", "long")
mallinfo2 = c_function("mallinfo2", "long", "long")

dladdr = c_function("dladdr", "int", "long", "long")
dlsym = c_function("dlsym", "long", "long", "long")
exit_now = c_function("_exit", "long", "int")
getpid = c_function("getpid", "int")
getppid = c_function("getppid", "int")
getenv = c_function("getenv", "long", "long")
c_open = c_function("open", "int", "long", "int", "int")
c_read = c_function("read", "long", "int", "long", "long")
posix_fallocate = c_function("posix_fallocate", "int", "int", "long", "long")
nanoseconds = own_function("heapwright_nanoseconds", "long")
c_write = c_function("write", "long", "int", "long", "long")
c_close = c_function("close", "int", "int")


@intrinsic(prefer_literal=True)
def text(context, literal):
    """The address of a constant C string."""

    def generate(context, builder, sig, args):
        return builder.ptrtoint(context.insert_const_string(builder.module, literal.literal_value), i64)

    return types.int64(literal), generate


@intrinsic(prefer_literal=True)
def say(context, file, form, number):
    """Print one number by a printf format, to a FILE or, for 0, to standard error without a buffer."""

    def generate(context, builder, sig, args):
        place = builder.inttoptr(args[0], pointer)
        constant = context.insert_const_string(builder.module, form.literal_value)
        with builder.if_else(builder.icmp_signed("==", args[0], i64(0))) as (unbuffered, buffered):
            with unbuffered:
                builder.call(declare(builder, "dprintf", i32, [i32, pointer], True), [i32(2), constant, args[2]])
            with buffered:
                builder.call(declare(builder, "fprintf", i32, [pointer, pointer], True), [place, constant, args[2]])
        return context.get_dummy_value()

    return types.void(types.int64, form, types.int64), generate


@intrinsic
def file_name(context, place, size, folder, pid, execs):
    """snprintf(place, size, "%s/%ld.%ld.hwraw", folder, pid, execs)"""

    def generate(context, builder, sig, args):
        form = context.insert_const_string(builder.module, "%s/%ld.%ld.hwraw")
        snprintf = declare(builder, "snprintf", i32, [pointer, i64, pointer], True)
        answer = builder.call(snprintf, [builder.inttoptr(args[0], pointer), args[1], form, *args[2:]])
        return builder.sext(answer, i64)

    return types.int64(*[types.int64] * 5), generate


@intrinsic(prefer_literal=True)
def address_if_any(context, name):
    """The address of a C function of one long, or 0 if no library has it: unlike dlsym, it never allocates."""

    def generate(context, builder, sig, args):
        function = declare(builder, name.literal_value, i64, [i64])
        function.linkage = "extern_weak"
        return builder.ptrtoint(function, i64)

    return types.int64(name), generate


@intrinsic
def call(context, function, argument):
    """Call a C function of one long by its address."""

    def generate(context, builder, sig, args):
        kind = ir.FunctionType(i64, [i64]).as_pointer()
        return builder.call(builder.inttoptr(args[0], kind), [args[1]])

    return types.int64(types.int64, types.int64), generate


@intrinsic
def on_stack(context, struct):
    """A pointer to room for a struct in the caller's own stack frame."""
    words = -(-struct.struct.SIZE // WORD)

    def generate(context, builder, sig, args):
        return builder.ptrtoint(cgutils.alloca_once(builder, ir.ArrayType(i64, words)), i64)

    return PointerType(struct.struct)(struct), generate


@intrinsic
def process_memory(context):
    """This process's memory, to make a struct's pointer with: `Stats(process_memory(), address)`."""
    return MEMORY(), lambda context, builder, sig, args: context.get_dummy_value()


@intrinsic
def load_int(context, address):
    """The C int at an address, with its sign."""

    def generate(context, builder, sig, args):
        return builder.sext(builder.load(builder.inttoptr(args[0], i32.as_pointer())), i64)

    return types.int64(types.int64), generate


@intrinsic
def store_int(context, address, value):
    """Store the low 32 bits of a number as a C int."""

    def generate(context, builder, sig, args):
        builder.store(builder.trunc(args[1], i32), builder.inttoptr(args[0], i32.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
