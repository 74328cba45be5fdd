"""The report of a misuse, which ends the process.

    heapwright: kr: double free: 0x5581f0a2b010 (4096 bytes)

A thread may report from anywhere inside an allocator, so nothing here allocates. The program may have a SIGABRT handler
that allocates, forks, or leaves by siglongjmp, so the thread first releases the locks that it holds. A thread that
reports again in its handler ends the process, because the handler would meet the same misuse forever.
"""

from __future__ import annotations

from heapwright.bits import bit
from heapwright.layout import Struct, Word
from heapwright.native import c
from heapwright.native.runtime.kernel import runtime
from heapwright.native.runtime.lines import Line, put_address, put_number, put_text, write_line
from heapwright.native.runtime.linux import (
    ABORTED,
    DEFAULT_ACTION,
    NOT_BLOCKED,
    SIGACTION,
    SIGPROCMASK,
)


class SignalSet(Struct):
    signals: Word


class Action(Struct):
    """The kernel's struct sigaction."""

    handler: Word
    flags: Word
    restorer: Word
    mask: Word


def report(what, address, size):
    """Write the misuse, the address, the allocator, the block's size unless it is 0, and what else is known; abort."""
    say(what, address, size)
    c.explain_misuse(address)
    state, thread = runtime(), c.thread_words()
    if state.reporter == thread and is_in_handler():
        act_by_default()
    state.reporter = thread
    c.release_held()
    c.abort()


def say(what, address, size):
    """Write the line of a report."""
    line = c.on_stack(Line)
    begin_line(line)
    put_text(line, what)
    put_text(line, c.text(": "))
    put_address(line, address)
    if size > 0:
        put_text(line, c.text(" ("))
        put_number(line, size, 0)
        put_text(line, c.text(" bytes)"))
    write_line(line)


def begin_line(line):
    """Begin a line of a report: with the names of heapwright and of the allocator."""
    line.used = 0
    put_text(line, c.text("heapwright: "))
    put_text(line, c.heap_name())
    put_text(line, c.text(": "))


def act_by_default():
    """Remove the handler of SIGABRT, so that the signal ends the process."""
    action = c.on_stack(Action)
    action.handler = action.flags = action.restorer = action.mask = DEFAULT_ACTION
    c.syscall(SIGACTION, ABORTED, action.address, 0, SignalSet.SIZE, 0)


def is_in_handler():
    """Whether the thread, which has aborted once, may still be in the handler, where the signal is blocked.

    abort unblocks it before. A handler that does not block the signal cannot be recognised.
    """
    blocked, action = c.on_stack(SignalSet), c.on_stack(Action)
    c.syscall(SIGPROCMASK, 0, 0, blocked.address, SignalSet.SIZE, 0)
    c.syscall(SIGACTION, ABORTED, 0, action.address, SignalSet.SIZE, 0)
    return blocked.signals & bit(ABORTED - 1) != 0 or action.flags & NOT_BLOCKED != 0
