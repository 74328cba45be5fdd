"""The frame of a signal on a thread's stack: by it, rt_sigreturn gives a thread all its registers back.

A function that returns to glibc's `__restore_rt`, with such a frame above its return address, leads the thread back to
where it was, with nobody's help.

Source: Linux, struct rt_sigframe, struct _fpx_sw_bytes; signal(7) on system calls that start again.
"""

from __future__ import annotations

import struct

from heapwright.live.source import Registers

FLAGS = 7  # UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
NO_STACK_MODE = 7  # no mode of an alternate stack: the thread keeps the one that it has
ORDER = (9, 8, 7, 6, 3, 2, 1, 0, 14, 13, 4, 5, 12, 10, 11, 19, 16, 18)  # r8 to r15, rdi ... rsp, rip, eflags
ANSWER, CALL, PROGRAM, CODE, STACK_SEGMENT = 10, 15, 16, 17, 20  # places of registers: rax, orig_rax, rip, cs, ss
CONTEXT = struct.Struct("<QQQII Q 18Q HHHH 4Q Q 64x 8s")
EXTENDED_FACTS, MAGIC, END_MAGIC = 464, 0x46505853, 0x46505845
NO_CALL = (1 << 64) - 1
CALL_BYTES = 2  # of the instruction `syscall`
AGAIN, BY_CLOCK = {-512, -513, -514}, -516  # ERESTARTSYS and its relatives; ERESTART_RESTARTBLOCK
RESTART = 219  # the system call that continues one with a clock


def signal_frame(registers: Registers, extended: bytes, mask: bytes, place: int) -> bytes:
    """The frame for `place`, a multiple of 64, behind the return address."""
    values = restarting(registers, continues=False)
    numbers = [values[each] for each in ORDER]
    behind = -CONTEXT.size % 64
    segments = values[CODE], 0, 0, values[STACK_SEGMENT]
    context = CONTEXT.pack(
        *(FLAGS, 0, 0, NO_STACK_MODE, 0, 0), *numbers, *segments, *(0, 0, 0, 0), place + CONTEXT.size + behind, mask
    )
    return context + bytes(behind) + with_facts(extended)


def with_facts(extended: bytes) -> bytes:
    """The vector registers as ptrace has them, in the form that rt_sigreturn takes."""
    [features] = struct.unpack_from("<Q", extended, EXTENDED_FACTS)
    facts = struct.pack("<IIQI28x", MAGIC, len(extended) + 4, features, len(extended))
    end = EXTENDED_FACTS + len(facts)
    return extended[:EXTENDED_FACTS] + facts + extended[end:] + struct.pack("<I", END_MAGIC)


def restarting(registers: Registers, continues: bool) -> Registers:
    """The registers with which an interrupted system call starts again from user mode.

    One with a clock `continues` with the time that is left, or else starts anew. After rt_sigreturn, it cannot.
    """
    values = list(registers)
    found = interruption(registers)
    if found in AGAIN or found == BY_CLOCK:
        values[ANSWER] = RESTART if continues and found == BY_CLOCK else registers[CALL]
        values[PROGRAM] -= CALL_BYTES
    values[CALL] = NO_CALL
    return tuple(values)


def interruption(registers: Registers) -> int:
    """What interrupted a system call, as a negative number; 0 if the thread is in none."""
    if registers[CALL] == NO_CALL:
        return 0
    answer = registers[ANSWER]
    return answer - (1 << 64) if answer >> 63 else 0
