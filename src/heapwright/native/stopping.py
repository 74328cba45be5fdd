"""The handler that keeps a stopped thread waiting, in machine code, and the words that it shares with the stopper.

    words -> +---------+--------------------+
           0 | inside  | number of the stop |  32 bits each; the number is odd while the stop lasts
           8 | mask                         |  the stopper's own signals: see `heapwright.native.runtime.stops`
             +------------------------------+

A thread arrives by adding 1 to the whole first word, so it counts only for the stop whose number it has read. Then it
waits until that number is gone, and counts itself out. In between it touches no stack and no thread-local word: the
stack may lie in a page that moves, and a thread may have been made without the C library.

Source: futex(2); the system calls of x86-64 change rax, rcx and r11 alone.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from heapwright.native.pointers import i64

WORDS, HANDLER = "heapwright_stop_words", "heapwright_stopped"
SIZE = 2  # words
WAIT_IN_HANDLER = """
1:  movq (%rdi), %rax
    btq $$32, %rax
    jnc 3f
    movq %rax, %r9
    leaq 1(%rax), %rdx
    lock cmpxchgq %rdx, (%rdi)
    jne 1b
    shrq $$32, %r9
    movl $$202, %eax
    movl $$129, %esi
    movl $$1, %edx
    syscall
    leaq 4(%rdi), %rdi
2:  cmpl %r9d, (%rdi)
    jne 4f
    movl $$202, %eax
    movl $$128, %esi
    movl %r9d, %edx
    xorl %r10d, %r10d
    syscall
    jmp 2b
4:  lock decl -4(%rdi)
3:
"""  # arrive and wake the stopper, FUTEX_WAKE_PRIVATE (129); then FUTEX_WAIT_PRIVATE (128) for the number to change
CHANGED = ("rax", "rcx", "rdx", "rsi", "r9", "r10", "r11", "memory", "cc")
CONSTRAINTS = ",".join(("={rdi}", "0", *(f"~{{{each}}}" for each in CHANGED)))


def words_in(module: ir.Module) -> ir.GlobalVariable:
    """The words, defined where they are first asked for: only a library that stops threads has them."""
    if WORDS not in module.globals:
        words = cgutils.add_global_variable(module, ir.ArrayType(i64, SIZE), WORDS)
        words.linkage, words.initializer, words.align = "linkonce_odr", ir.Constant(words.value_type, None), 8
    return module.globals[WORDS]


def handler_in(module: ir.Module) -> ir.Function:
    """The handler: it gets the signal's number and uses nothing of its caller."""
    if HANDLER not in module.globals:
        handler = ir.Function(module, ir.FunctionType(ir.VoidType(), []), HANDLER)
        handler.linkage = "linkonce_odr"
        builder = ir.IRBuilder(handler.append_basic_block())
        wait = ir.InlineAsm(ir.FunctionType(i64, [i64]), WAIT_IN_HANDLER, CONSTRAINTS, side_effect=True)
        builder.call(wait, [builder.ptrtoint(words_in(module), i64)])
        builder.ret_void()
    return module.globals[HANDLER]


@intrinsic
def stop_words(context):
    """The address of the words."""
    return types.int64(), lambda context, builder, sig, args: builder.ptrtoint(words_in(builder.module), i64)


@intrinsic
def stop_handler(context):
    """The address of the handler."""
    return types.int64(), lambda context, builder, sig, args: builder.ptrtoint(handler_in(builder.module), i64)
