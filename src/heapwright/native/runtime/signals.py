"""The handler of SIGSEGV that reports faults in protected pages, in front of the program's own.

The handler is installed when pages are first protected. From then on, the program's `sigaction` and `signal` of SIGSEGV
set the action that our handler passes faults on to: the C library's functions are interposed. Our handler has the mask
and the flags of that action, so the program's handler runs as if it had been called by the kernel.

Source: sigaction(2); glibc sysdeps/posix/signal.c.
"""

from __future__ import annotations

from heapwright.bits import as_int, bit
from heapwright.layout import NULL, Array, Struct, Word, Word32
from heapwright.native import c
from heapwright.native.runtime.kernel import errno, runtime, set_errno
from heapwright.native.runtime.linux import (
    DEFAULT_ACTION,
    IGNORE,
    NO_ACCESS,
    ON_STACK,
    ONCE,
    READ_WRITE,
    RESTART,
    SEGMENT,
    WITH_INFO,
)

SLOW_PATHS = ("protect",)
FAILED = -1  # SIG_ERR


class Action(Struct):
    """C's struct sigaction, as the C library has it."""

    handler: Word
    mask: Array[Word, 16]
    flags: Word32
    restorer: Word


class Info(Struct):
    """The part of C's siginfo_t that a fault fills in."""

    signal: Word32
    error: Word32
    code: Word32
    place: Word  # the address that was accessed


def protect(address, size, is_protected):
    """Close whole pages to every access, or open them. Returns 0, or -1.

    The first call installs the handler, if the heap explains faults.
    """
    saved = errno()
    if c.handles_faults() != 0 and runtime().has_fault_handler == 0:
        runtime().has_fault_handler = 1
        c.real_sigaction(SEGMENT, NULL, program_action().address)
        install()
    result = c.mprotect(address, size, NO_ACCESS if is_protected else READ_WRITE)
    set_errno(saved)
    return result


def program_action():
    """The program's own action for SIGSEGV."""
    return Action(c.process_memory(), c.fault_words())


def has_handler(action):
    """Whether an action is a function of the program."""
    return action.handler not in (DEFAULT_ACTION, IGNORE)


def install():
    """Handle SIGSEGV with the mask and the flags of the program's own handler, if it has one."""
    program, ours = program_action(), c.on_stack(Action)
    ours.memory.copy(ours.address, program.address, Action.SIZE)
    ours.handler = c.fault_handler()
    ours.flags = (program.flags | WITH_INFO) & ~ONCE if has_handler(program) else WITH_INFO | ON_STACK
    c.real_sigaction(SEGMENT, ours.address, NULL)


def pass_on(number, info, context):
    """Do what the program's own action for SIGSEGV says."""
    program = program_action()
    handler, flags = program.handler, program.flags
    if not has_handler(program):
        act_by_default(number, handler, info)
        return
    if flags & ONCE:
        program.handler = DEFAULT_ACTION
    if flags & WITH_INFO:
        c.call_with(handler, number, info, context, 0)
    else:
        c.call(handler, number)


def act_by_default(number, handler, info):
    """Let the access fault again, now without a handler, so that a core shows it. A signal that was sent is raised."""
    was_sent = is_sent(Info(c.process_memory(), info))
    if handler == IGNORE and was_sent:
        return
    action = c.on_stack(Action)
    c.real_sigaction(number, action.address, NULL)
    if was_sent:
        c.raise_signal(number)


def is_sent(info):
    """Whether a process sent the signal; otherwise an access caused it."""
    return as_int(info.code) <= 0


# --- the C library's functions


def sigaction(heap, number, action, old):
    """Change or query the program's action for a signal; SIGSEGV's is kept here once our handler is installed."""
    if as_int(number) != SEGMENT or runtime().has_fault_handler == 0:
        return c.real_sigaction(number, action, old)
    program, before = program_action(), c.on_stack(Action)
    heap.memory.copy(before.address, program.address, Action.SIZE)
    if action != NULL:
        heap.memory.copy(program.address, action, Action.SIZE)
        install()
    if old != NULL:
        heap.memory.copy(old, before.address, Action.SIZE)
    return 0


def signal(heap, number, handler):
    """Set the program's handler of a signal by `sigaction`, as BSD does; return the old one."""
    if as_int(number) != SEGMENT or handler == FAILED:
        return c.real_signal(number, handler)
    action, old = c.on_stack(Action), c.on_stack(Action)
    action.handler = handler
    action.mask[0] = bit(SEGMENT - 1)
    action.flags = RESTART
    return FAILED if sigaction(heap, number, action.address, old.address) != 0 else old.handler
