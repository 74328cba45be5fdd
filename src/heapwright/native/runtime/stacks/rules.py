"""A rule in one word: how to get from a frame to its caller's, and which module the frame belongs to.

A frame's CFA is the stack pointer of its caller at the call; the return address lies below it.

     63       52 51                  28 27       16 15  12 11  8 7   4 3    0
    +-----------+----------------------+-----------+------+-----+-----+------+
    |  module   |        offset        | bp_offset |      |role | bp  | kind |      offset, bp_offset: signed, in words
    +-----------+----------------------+-----------+------+-----+-----+------+
"""

from __future__ import annotations

from heapwright.bits import shift_right
from heapwright.layout import WORD

# kind: how to find the CFA
NO_TABLE = 0  # no table, or one that says what no rule can: the frame pointer may help
BY_SP = 1  # sp + offset
BY_BP = 2  # bp + offset
BY_SLOT = 3  # the word at bp + offset
SIGNAL = 4  # the kernel's frame of a signal: it has the interrupted registers
LAST = 5  # there is no caller
BY_STUB = 6  # an entry of a linkage table: sp + 8, and 8 more from byte offset / 8 of its 16 bytes on

# bp: where the caller's frame pointer is
BP_SAME = 0  # in the register
BP_BY_CFA = 1  # saved at CFA + bp_offset
BP_BY_BP = 2  # saved at bp + bp_offset
BP_LOST = 3

# role: what the function is to Python
UNSEEN, EVALUATES, DOES_NOT = 0, 1, 2

BP_SHIFT, ROLE_SHIFT, BP_OFFSET_SHIFT, OFFSET_SHIFT, MODULE_SHIFT = 4, 8, 16, 28, 52
MAX_BP_OFFSET, MAX_OFFSET = 1 << 11, 1 << 23  # in words
FOUR_BITS = 15


def rule_of(kind, offset, bp, bp_offset):
    """Put a rule together, of no module yet. NO_TABLE if the offset does not fit."""
    if offset % WORD != 0 or not -MAX_OFFSET <= offset // WORD < MAX_OFFSET:
        return NO_TABLE
    head = kind | (offset // WORD & 2 * MAX_OFFSET - 1) << OFFSET_SHIFT
    if bp_offset % WORD != 0 or not -MAX_BP_OFFSET <= bp_offset // WORD < MAX_BP_OFFSET:
        return head | BP_LOST << BP_SHIFT
    return head | bp << BP_SHIFT | (bp_offset // WORD & 2 * MAX_BP_OFFSET - 1) << BP_OFFSET_SHIFT


def in_module(rule, number):
    """The rule for a frame of a module."""
    return rule | number << MODULE_SHIFT


def with_role(rule, role):
    """The rule with the role found out."""
    return rule | role << ROLE_SHIFT


def kind_of(rule):
    """How to find the CFA."""
    return rule & FOUR_BITS


def offset_of(rule):
    """The signed offset from the register, in bytes."""
    return ((rule >> OFFSET_SHIFT & 2 * MAX_OFFSET - 1 ^ MAX_OFFSET) - MAX_OFFSET) * WORD


def bp_of(rule):
    """Where the caller's frame pointer is."""
    return rule >> BP_SHIFT & FOUR_BITS


def bp_offset_of(rule):
    """The signed offset of the saved frame pointer, in bytes."""
    return ((rule >> BP_OFFSET_SHIFT & 2 * MAX_BP_OFFSET - 1 ^ MAX_BP_OFFSET) - MAX_BP_OFFSET) * WORD


def role_of(rule):
    """What the function is to Python."""
    return rule >> ROLE_SHIFT & FOUR_BITS


def module_in(rule):
    """The number of the frame's module; 0 if it has none."""
    return shift_right(rule, MODULE_SHIFT)
