"""Who called the heap, for the few blocks that the layer `guarded` keeps: the thread, and its call stack.

The walk is that of `walk`, a step at a time and without its tables: each rule is looked up anew, which takes about a
microsecond. So a heap that takes few stacks needs no memory for them.
"""

from __future__ import annotations

from heapwright.guards import FRAMES, Caller
from heapwright.layout import NULL, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.kernel import errno, set_errno
from heapwright.native.runtime.process_facts import kernel_thread
from heapwright.native.runtime.stacks.bounds import enter_stack, find_own_stack
from heapwright.native.runtime.stacks.instructions import Program
from heapwright.native.runtime.stacks.modules import Found
from heapwright.native.runtime.stacks.rules import LAST, NO_TABLE, SIGNAL, kind_of
from heapwright.native.runtime.stacks.tables import rule_at
from heapwright.native.runtime.stacks.walk import cfa_of, leave, leave_library, leave_signal

SLOW_PATHS = ("note_caller",)


class Bounds(Struct):
    """Where the thread's own stack is: zeros for the main thread's."""

    start: Word
    end: Word


class Steps(Struct):
    """As much of a `walk.Walk` as its single steps need. A signal handler's stack may be small."""

    pc: Word
    sp: Word
    bp: Word
    low: Word
    high: Word
    is_foreign: Word
    own_start: Word
    own_end: Word
    guesses: Word
    is_plain: Word
    slot: Word


def note_caller(place, size):
    """Store the calling thread and its call stack outside this library."""
    caller, walk = Caller(c.process_memory(), place), c.on_stack(Steps)
    caller.memory.fill(place, size, 0)
    saved = errno()
    note_thread(caller, walk)
    leave_library(walk)
    enter_stack(walk, walk.sp)
    note_frames(caller, walk)
    set_errno(saved)
    return 0


def note_interrupted(caller, context):
    """Store the calling thread, and the call stack that a signal interrupted; its handler got this context."""
    walk = c.on_stack(Steps)
    note_thread(caller, walk)
    walk.sp = context
    enter_stack(walk, context)
    if leave_signal(walk):
        note_frames(caller, walk)


def note_thread(caller, walk):
    """Store the calling thread, and note where its stack is."""
    bounds = c.on_stack(Bounds)
    caller.thread = kernel_thread()
    find_own_stack(bounds)
    walk.own_start = bounds.start
    walk.own_end = bounds.end


def note_frames(caller, walk):
    """Store the return addresses of the call stack, as far as its frames can be found."""
    for i in range(FRAMES):
        caller.frames[i] = walk.pc
        if not go_to_caller(walk):
            return


def go_to_caller(walk):
    """Go to the caller of the frame in hand. Returns whether there is one."""
    rule = rule_of(walk)
    if kind_of(rule) == LAST:
        return False
    return leave_signal(walk) if kind_of(rule) == SIGNAL else leave(walk, rule, cfa_of(walk, rule))


def rule_of(walk):
    """The rule of the frame in hand, from the unwind tables of its module."""
    found, find = c.on_stack(Found), c.address_if_any("_dl_find_object")
    if find == NULL or c.call_with_two(find, walk.pc - 1, found.address) != 0 or found.index == NULL:
        return NO_TABLE
    return rule_at(walk.memory, found.index, walk.pc - 1, c.unset_on_stack(Program))
