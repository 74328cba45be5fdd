"""The library's own module: its words, its constructors and its destructors.

It is LLVM text, because the dialect cannot express thread-local storage, constructors, and a function that must leave
its caller's return address in place.
"""

from __future__ import annotations

from llvmlite import binding as llvm

from heapwright.native.cxx import operators_text
from heapwright.native.runtime.kernel import Runtime
from heapwright.native.runtime.recorder import Recorder
from heapwright.native.runtime.signals import Action

CARD = "heapwright_card"


def shell_text(heap_bytes: int, thread_words: int, is_heap: bool, name: str, spec: str, expects_sizes: bool) -> str:
    offsets = {name: Runtime.fields[name].offset for name in ("exit_key", "has_exit_key")}
    life = LIFE.format(**offsets) + DLOPEN + operators_text(expects_sizes)
    return f"""
target triple = "{llvm.get_process_triple()}"
@heap = internal global [{heap_bytes + 8} x i8] zeroinitializer, align 64
@name = internal constant {text(name)}
@runtime = internal global [{Runtime.SIZE} x i8] zeroinitializer, align 64
@recorder = internal global [{Recorder.SIZE} x i8] zeroinitializer, align 64
@thread = internal thread_local(initialexec) global [{thread_words} x i64] zeroinitializer, align 8
define i64 @heapwright_words_of_a_thread() alwaysinline {{
  ret i64 {thread_words}
}}
{WORDS}
{life if is_heap else JOB}
{card_text(spec) if spec else ""}
"""


def text(name: str) -> str:
    """A C string as LLVM text: its type, then its bytes."""
    data = name.encode() + b"\0"
    escaped = "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\{byte:02x}" for byte in data)
    return f'[{len(data)} x i8] c"{escaped}"'


def card_text(spec: str) -> str:
    """The card that says which heap this is and where its words are; `heapwright.live.own` reads it."""
    kind = text(spec).partition(" c")[0]
    places = ", ".join(f"ptr getelementptr (i8, ptr @runtime, i64 {Runtime.fields[name].offset})" for name in SBRK)
    return f"@{CARD} = constant {{ ptr, ptr, ptr, ptr, {kind} }} {{ ptr @heap, {places}, {text(spec)} }}, align 8"


SBRK = ("start", "piece", "top")  # the start of sbrk's memory, the start of its last part, and its end

WORDS = """
declare ptr @llvm.threadlocal.address.p0(ptr)
define i64 @heapwright_heap_words() alwaysinline {
  ret i64 ptrtoint (ptr @heap to i64)
}
define i64 @heapwright_runtime_words() alwaysinline {
  ret i64 ptrtoint (ptr @runtime to i64)
}
define i64 @heapwright_recorder_words() alwaysinline {
  ret i64 ptrtoint (ptr @recorder to i64)
}
@__ehdr_start = external hidden global i8
@_etext = external hidden global i8
@__libc_stack_end = external global i64
define i64 @heapwright_library_start() alwaysinline {
  ret i64 ptrtoint (ptr @__ehdr_start to i64)
}
define i64 @heapwright_library_end() alwaysinline {
  ret i64 ptrtoint (ptr @_etext to i64)
}
define i64 @heapwright_main_stack_end() alwaysinline {
  %end = load i64, ptr @__libc_stack_end
  ret i64 %end
}
define i64 @heapwright_heap_name() alwaysinline {
  ret i64 ptrtoint (ptr @name to i64)
}
define i64 @heapwright_thread_words() alwaysinline {
  %place = call ptr @llvm.threadlocal.address.p0(ptr @thread)
  %word = ptrtoint ptr %place to i64
  ret i64 %word
}
declare i64 @syscall(i64, ...)
define i64 @heapwright_probe(i64 %address) {
  %word = and i64 %address, -4
  %answer = call i64 (i64, ...) @syscall(i64 202, i64 %word, i64 132, i64 0, i64 0, i64 %word, i64 0)
  ret i64 %answer
}
declare i32 @clock_gettime(i32, ptr)
define i64 @heapwright_nanoseconds(i64 %clock) {
  %place = alloca [2 x i64]
  %name = trunc i64 %clock to i32
  %ignored = call i32 @clock_gettime(i32 %name, ptr %place)
  %seconds = load i64, ptr %place
  %second = getelementptr i8, ptr %place, i64 8
  %rest = load i64, ptr %second
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}
"""

# Our fork handler is registered first of all, so it runs last before the fork and first after it.
LIFE = """
declare i32 @__register_atfork(ptr, ptr, ptr, ptr)
declare i32 @pthread_key_create(ptr, ptr)
define internal void @load() {{
  %a = call i32 @__register_atfork(ptr @heapwright_fork_prepare, ptr @heapwright_fork_parent,
                                   ptr @heapwright_fork_child, ptr null)
  %b = call i32 @pthread_key_create(ptr getelementptr (i8, ptr @runtime, i64 {exit_key}), ptr @heapwright_thread_exit)
  store i32 1, ptr getelementptr (i8, ptr @runtime, i64 {has_exit_key})
  ret void
}}
define internal void @unload() {{
  %ignored = call i64 @heapwright_leave_record()
  ret void
}}
@llvm.global_ctors = appending global [1 x {{ i32, ptr, ptr }}]
                     [{{ i32, ptr, ptr }} {{ i32 101, ptr @load, ptr null }}]
@llvm.global_dtors = appending global [1 x {{ i32, ptr, ptr }}]
                     [{{ i32, ptr, ptr }} {{ i32 101, ptr @unload, ptr null }}]
"""

# RTLD_DEEPBIND (8) would bind a library's free to the C library's, which does not know our blocks. The real
# dlopen inspects its return address, so this one jumps to it.
DLOPEN = """
@dlopen_name = internal constant [7 x i8] c"dlopen\\00"
define ptr @dlopen(ptr %file, i32 %flags) {
  %real = call ptr @dlsym(ptr inttoptr (i64 -1 to ptr), ptr @dlopen_name)
  %bound = and i32 %flags, -9
  %handle = musttail call ptr %real(ptr %file, i32 %bound)
  ret ptr %handle
}
"""

# For a library with protected pages: the program's action for SIGSEGV, and our handler. The alias means this library's,
# even if the process has another one.
FAULTS = f"""
@fault = internal global [{Action.SIZE} x i8] zeroinitializer, align 8
define i64 @heapwright_handles_faults() alwaysinline {{
  ret i64 1
}}
define i64 @heapwright_fault_words() alwaysinline {{
  ret i64 ptrtoint (ptr @fault to i64)
}}
define i64 @heapwright_fault_handler() alwaysinline {{
  ret i64 ptrtoint (ptr @on_fault to i64)
}}
@on_fault = internal alias i64 (i64, i64, i64), ptr @heapwright_on_fault
"""

# For any other library: its protected pages explain nothing, and nothing is known of a misused block beyond its line.
NO_FAULTS = """
define i64 @heapwright_explain_misuse(i64 %address) alwaysinline {
  ret i64 0
}
define i64 @heapwright_handles_faults() alwaysinline {
  ret i64 0
}
"""

JOB = """
define internal void @load() {
  %ignored = call i64 @heapwright_job()
  ret void
}
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 65535, ptr @load, ptr null }]
"""
