"""The C library and the library's own data, as functions for compiled code.

`c_function` declares a C function. Numbers are 64 bits wide in the dialect and are cut or extended to the function's
widths; pointers are longs. `heap_words`, `runtime_words`, `thread_words` and `heap_name` return addresses inside the
library. Only the library's own module defines them, so Numba's in-process engine never meets their relocations.
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
    """Declare a C function of ints and longs, callable from compiled code."""
    widths = [WIDTHS[each] for each in arguments]

    def generate(context, builder, sig, args):
        cut = [builder.trunc(each, width) if width is i32 else each for each, width in zip(args, widths, strict=True)]
        answer = builder.call(declare(builder, name, WIDTHS[result], widths), cut)
        return builder.sext(answer, i64) if result == "int" else answer

    return intrinsic(typing_of(len(arguments), generate))


def typing_of(arity: int, generate):
    """A typing function with `arity` named arguments, as `intrinsic` requires."""
    names = "".join(f", a{i}" for i in range(arity))
    scope = {"signature": types.int64(*[types.int64] * arity), "generate": generate}
    exec(f"def typed(context{names}):\n    return signature, generate", scope)  # noqa: S102  a signature of any length
    return scope["typed"]


def own_function(name: str, *arguments: str):
    """Declare a function that the library's own module defines. Numba's engine resolves it and never calls it."""
    if not llvm.address_of_symbol(name):
        llvm.add_symbol(name, 1)
    return c_function(name, "long", *arguments)


heap_words = own_function("heapwright_heap_words")
runtime_words = own_function("heapwright_runtime_words")
thread_words = own_function("heapwright_thread_words")
recorder_words = own_function("heapwright_recorder_words")
heap_name = own_function("heapwright_heap_name")
words_of_a_thread = own_function("heapwright_words_of_a_thread")
library_start = own_function("heapwright_library_start")
library_end = own_function("heapwright_library_end")
main_stack_end = own_function("heapwright_main_stack_end")
probe = own_function("heapwright_probe", "long")
release_held = own_function("heapwright_release_held")
explain_misuse = own_function("heapwright_explain_misuse", "long")
handles_faults = own_function("heapwright_handles_faults")
fault_words = own_function("heapwright_fault_words")
fault_handler = own_function("heapwright_fault_handler")
real_sigaction = c_function("__sigaction", "int", "int", "long", "long")
real_signal = c_function("ssignal", "long", "int", "long")
raise_signal = c_function("raise", "int", "int")

sbrk = c_function("sbrk", "long", "long")
mmap = c_function("mmap", "long", "long", "long", "int", "int", "int", "long")
munmap = c_function("munmap", "int", "long", "long")
mremap = c_function("mremap", "long", "long", "long", "long", "int")
mprotect = c_function("mprotect", "int", "long", "long", "int")
madvise = c_function("madvise", "int", "long", "long", "int")
syscall = c_function("syscall", "long", "long", "long", "long", "long", "long", "long")
errno_place = c_function("__errno_location")
pthread_self = c_function("pthread_self")
pthread_getcpuclockid = c_function("pthread_getcpuclockid", "int", "long", "long")
pthread_getspecific = c_function("pthread_getspecific", "long", "int")
pthread_setspecific = c_function("pthread_setspecific", "int", "int", "long")
list_lock = c_function("_IO_list_lock")
list_unlock = c_function("_IO_list_unlock")
list_reset = c_function("_IO_list_resetlock")
pthread_create = c_function("pthread_create", "int", "long", "long", "long", "long")
pthread_attr_init = c_function("pthread_attr_init", "int", "long")
pthread_attr_setstacksize = c_function("pthread_attr_setstacksize", "int", "long", "long")
pthread_attr_destroy = c_function("pthread_attr_destroy", "int", "long")
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
valloc = c_function("valloc", "long", "long")
free = c_function("free", "long", "long")
malloc_usable_size = c_function("malloc_usable_size", "long", "long")
malloc_trim = c_function("malloc_trim", "int", "long")
mallinfo2 = c_function("mallinfo2", "long", "long")

dladdr = c_function("dladdr", "int", "long", "long")
dlsym = c_function("dlsym", "long", "long", "long")
memmove_within = c_function("__memmove_chk", "long", "long", "long", "long", "long")
memset_within = c_function("__memset_chk", "long", "long", "int", "long", "long")
strcmp = c_function("strcmp", "int", "long", "long")
strlen = c_function("strlen", "long", "long")
strstr = c_function("strstr", "long", "long", "long")
exit_now = c_function("_exit", "long", "int")
nanosleep = c_function("nanosleep", "int", "long", "long")
getpid = c_function("getpid", "int")
getrusage = c_function("getrusage", "int", "int", "long")
getenv = c_function("getenv", "long", "long")
getauxval = c_function("getauxval", "long", "long")
secure_getenv = c_function("secure_getenv", "long", "long")
c_open = c_function("open", "int", "long", "int", "int")
c_read = c_function("read", "long", "int", "long", "long")
getrlimit = c_function("getrlimit", "int", "int", "long")
setrlimit = c_function("setrlimit", "int", "int", "long")
fork = c_function("fork", "int")
waitpid = c_function("waitpid", "int", "int", "long", "int")
nanoseconds = own_function("heapwright_nanoseconds", "long")
c_pread = c_function("pread", "long", "int", "long", "long", "long")
c_write = c_function("write", "long", "int", "long", "long")
c_close = c_function("close", "int", "int")


@intrinsic(prefer_literal=True)
def text(context, literal):
    """The address of a constant C string."""

    def generate(context, builder, sig, args):
        return builder.ptrtoint(context.insert_const_string(builder.module, literal.literal_value), i64)

    return types.int64(literal), generate


@intrinsic
def abort(context):
    """End the process with SIGABRT."""

    def generate(context, builder, sig, args):
        builder.call(declare(builder, "abort", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(prefer_literal=True)
def say(context, file, form, number):
    """Print one number to a FILE in a printf format. This may allocate."""

    def generate(context, builder, sig, args):
        constant = context.insert_const_string(builder.module, form.literal_value)
        fprintf = declare(builder, "fprintf", i32, [pointer, pointer], True)
        builder.call(fprintf, [builder.inttoptr(args[0], pointer), constant, args[2]])
        return context.get_dummy_value()

    return types.void(types.int64, form, types.int64), generate


@intrinsic(prefer_literal=True)
def address_if_any(context, name):
    """The address of a C function of one long, or 0 if no library has it. Unlike dlsym, this never allocates."""

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
def ticks(context):
    """The processor's clock, read after all earlier loads are done: what caused them has a smaller number."""

    def generate(context, builder, sig, args):
        builder.call(declare(builder, "llvm.x86.sse2.lfence", ir.VoidType(), []), [])
        return builder.call(declare(builder, "llvm.readcyclecounter", i64, []), [])

    return types.int64(), generate


@intrinsic
def ticks_at_once(context):
    """The processor's clock, read whenever the processor comes to it."""

    def generate(context, builder, sig, args):
        return builder.call(declare(builder, "llvm.readcyclecounter", i64, []), [])

    return types.int64(), generate


@intrinsic
def call_with_two(context, function, first, second):
    """Call a C function of two longs by its address, for an int."""

    def generate(context, builder, sig, args):
        kind = ir.FunctionType(i32, [i64, i64]).as_pointer()
        return builder.sext(builder.call(builder.inttoptr(args[0], kind), args[1:]), i64)

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def frame_address(context):
    """The frame pointer of the function that this becomes a part of. Only with `Unit.has_frames` do its callers have
    one, too."""

    def generate(context, builder, sig, args):
        frame = declare(builder, "llvm.frameaddress.p0", pointer, [i32])
        return builder.ptrtoint(builder.call(frame, [i32(0)]), i64)

    return types.int64(), generate


@intrinsic
def call_with(context, function, a, b, c, d):
    """Call a C function of up to four longs by its address."""

    def generate(context, builder, sig, args):
        kind = ir.FunctionType(i64, [i64] * 4).as_pointer()
        return builder.call(builder.inttoptr(args[0], kind), args[1:])

    return types.int64(*[types.int64] * 5), generate


@intrinsic
def on_stack(context, struct):
    """A pointer to space for a struct in the caller's stack frame. It is zero when the function begins."""
    words = -(-struct.struct.SIZE // WORD)

    def generate(context, builder, sig, args):
        return builder.ptrtoint(cgutils.alloca_once(builder, ir.ArrayType(i64, words)), i64)

    return PointerType(struct.struct)(struct), generate


@intrinsic
def unset_on_stack(context, struct):
    """The same for a struct that is too large to be set to zero each time."""
    words = -(-struct.struct.SIZE // WORD)

    def generate(context, builder, sig, args):
        with builder.goto_entry_block():
            place = builder.alloca(ir.ArrayType(i64, words))
        return builder.ptrtoint(place, i64)

    return PointerType(struct.struct)(struct), generate


@intrinsic
def process_memory(context):
    """This process's memory, for struct pointers: `Stats(process_memory(), address)`."""
    return MEMORY(), lambda context, builder, sig, args: context.get_dummy_value()


@intrinsic
def load_int(context, address):
    """The C int at an address, sign-extended."""

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
