"""The report of a fault in the heap's protected pages, by the handler of SIGSEGV; and who used a misused block.

    heapwright: kr: overflow: 0x7f52cd2a7000: 12 bytes after the end of the block at 0x7f52cd2a6f90 (100 bytes)
    heapwright: kr: accessed by thread 4712
    heapwright: kr:   /usr/bin/example+0x11a3
    heapwright: kr: allocated by thread 4711
    heapwright: kr:   /usr/bin/example+0x1188

Written in the dialect over `inner`, whose `slot_near` knows the block. Everything here is safe in a signal handler: it
reads the heap's words, formats on the stack and writes with the system call.
"""

from __future__ import annotations

from heapwright.guards import Caller, bytes_after, bytes_before, has_freer, has_page, is_freed
from heapwright.layers import inner
from heapwright.native import c
from heapwright.native.runtime.kernel import errno, runtime, set_errno
from heapwright.native.runtime.lines import Line, put_address, put_number, put_text, write_line
from heapwright.native.runtime.misuse import begin_line
from heapwright.native.runtime.signals import Info, is_sent, pass_on
from heapwright.native.runtime.stacks.callers import note_caller, note_interrupted
from heapwright.native.runtime.stacks.places import put_place

Heap = inner.Heap


def on_fault(heap, number, info, context):
    """Handle SIGSEGV: report a fault in a protected page, then do what the program would have done."""
    saved = errno()
    fault = Info(heap.memory, info)
    if not is_sent(fault):
        slot = inner.slot_near(heap, fault.place)
        if slot and runtime().reported != fault.place:
            runtime().reported = fault.place
            report(slot, fault.place, context)
    set_errno(saved)
    pass_on(number, info, context)
    return 0


def report(slot, address, context):
    """Write what happened, then who accessed the address, and who allocated the block and freed it."""
    line, accessed = c.on_stack(Line), c.on_stack(Caller)
    begin_line(line)
    put_misuse(line, slot, address)
    put_text(line, c.text(": "))
    put_address(line, address)
    put_text(line, c.text(": "))
    put_position(line, slot, address)
    put_text(line, c.text("block at "))
    put_address(line, slot.block)
    put_text(line, c.text(" ("))
    put_bytes(line, slot.size)
    put_text(line, c.text(")"))
    write_line(line)
    note_interrupted(accessed, context)
    report_caller(c.text("accessed by thread "), accessed)
    report_users(slot)


def explain_misuse(heap, address):
    """After the line about an address that the program freed or resized wrongly: who did, and who used its block."""
    slot = inner.slot_near(heap, address)
    if slot and has_page(slot, address, heap.memory.PAGE):
        caller = c.on_stack(Caller)
        note_caller(caller.address, Caller.SIZE)
        report_caller(c.text("called by thread "), caller)
        report_users(slot)
    return 0


def report_users(slot):
    """Write who allocated the block, and who freed it."""
    report_caller(c.text("allocated by thread "), slot.allocated)
    if has_freer(slot):
        report_caller(c.text("freed by thread "), slot.freed)


def put_misuse(line, slot, address):
    """Append the kind of misuse."""
    if is_freed(slot):
        put_text(line, c.text("use after free"))
    elif bytes_before(slot, address) > 0:
        put_text(line, c.text("underflow"))
    else:
        put_text(line, c.text("overflow"))


def put_position(line, slot, address):
    """Append where the address is, seen from the block."""
    before, after = bytes_before(slot, address), bytes_after(slot, address)
    if before > 0:
        put_bytes(line, before)
        put_text(line, c.text(" before the "))
    elif after >= 0:
        put_bytes(line, after)
        put_text(line, c.text(" after the end of the "))
    else:
        put_bytes(line, -before)
        put_text(line, c.text(" into the "))


def put_bytes(line, count):
    """Append a number of bytes."""
    put_number(line, count, 0)
    put_text(line, c.text(" byte") if count == 1 else c.text(" bytes"))


def report_caller(label, caller):
    """Write a thread and its call stack."""
    line = c.on_stack(Line)
    begin_line(line)
    put_text(line, label)
    put_number(line, caller.thread, 0)
    write_line(line)
    i = 0
    while i < len(caller.frames) and caller.frames[i] != 0:
        begin_line(line)
        put_text(line, c.text("  "))
        put_place(line, caller.frames[i] - 1)  # in the call, not behind it
        write_line(line)
        i += 1
