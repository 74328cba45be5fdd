"""The instructions of unwind tables: where the caller's registers are, as a function's code goes on.

Source: DWARF 5, section 6.4.2.
"""

from __future__ import annotations

from heapwright.layout import Array, Inline, Struct, Word
from heapwright.native.runtime.stacks.encoded import byte_at, sleb_at, uleb_at, unsigned_16_at, unsigned_at

BP, SP, RETURN = 6, 7, 16  # numbers of registers
MAX_REMEMBERED = 8

# instructions: the first three have an operand in their low six bits
ADVANCE, OFFSET, RESTORE = 0x40, 0x80, 0xC0
ADVANCE_1, ADVANCE_2, ADVANCE_4 = 2, 3, 4
RESTORE_EXTENDED = 6
REMEMBER, RESTORE_STATE = 0x0A, 0x0B
DEFINE_CFA, CFA_REGISTER, CFA_OFFSET, CFA_EXPRESSION = 0x0C, 0x0D, 0x0E, 0x0F
EXPRESSION = 0x10
OFFSET_EXTENDED, OFFSET_NEGATIVE = 0x05, 0x2F
DEFINE_CFA_SIGNED, CFA_OFFSET_SIGNED = 0x12, 0x13
# which instructions have which operands, as sets of bits
HAS_FIRST = sum(1 << each for each in (5, 6, 7, 8, 9, 0xC, 0xD, 0xE, 0x10, 0x11, 0x12, 0x14, 0x15, 0x16, 0x2E, 0x2F))
HAS_UNSIGNED = sum(1 << each for each in (5, 9, 0xC, 0x14, 0x2F))
HAS_SIGNED = sum(1 << each for each in (0x11, 0x12, 0x13, 0x15))
HAS_BLOCK = sum(1 << each for each in (0xF, 0x10, 0x16))
IS_SAVED = sum(1 << each for each in (5, 0x11, 0x2F))
IS_SAME = sum(1 << each for each in (6, 8))
STACKS = sum(1 << each for each in (REMEMBER, RESTORE_STATE))
IS_NOWHERE = sum(1 << each for each in (7, 9, 0x14, 0x15, 0x16))  # undefined, or where no rule can say
KNOWN = HAS_FIRST | HAS_SIGNED | HAS_BLOCK | sum(1 << each for each in (0, 2, 3, 4, 0xA, 0xB))

# where the caller's register is
SAME, SAVED, BY_EXPRESSION, NOWHERE = 0, 1, 2, 3


class Registers(Struct):
    """What the instructions have said so far."""

    cfa_register: Word
    cfa_offset: Word
    cfa_expression: Word  # the address of its block, or 0
    bp: Word
    bp_offset: Word  # or the address of its expression's block
    returns: Word  # the return address


class Program(Struct):
    """A run of a function's instructions."""

    now: Inline[Registers]
    at_start: Inline[Registers]
    remembered: Array[Word, 6 * MAX_REMEMBERED]
    depth: Word  # of `remembered`
    place: Word  # the next instruction
    end: Word
    location: Word  # the code address that the instructions have come to
    code_unit: Word
    data_unit: Word
    encoding: Word  # of code addresses
    is_signal: Word
    has_augmentation: Word
    # the last instruction
    operation: Word
    first: Word
    second: Word


def run(memory, program, address):
    """Run the instructions up to a code address. Returns whether all are known."""
    while program.place < program.end:
        decode(memory, program)
        if program.operation >= 0x40 or KNOWN >> program.operation & 1 == 0:
            return False
        if ADVANCE_1 <= program.operation <= ADVANCE_4:
            if program.location + program.first > address:
                return True
            program.location += program.first
        elif STACKS >> program.operation & 1:
            if not stack_state(memory, program):
                return False
        else:
            define_cfa(program)
            define_register(program)
    return True


def decode(memory, program):
    """Read the next instruction and its operands. Short forms become the long ones."""
    place = program.place
    code = byte_at(memory, place)
    place += 1
    program.operation = code
    program.first = 0
    program.second = 0
    if code & 0xC0 == ADVANCE:
        program.operation = ADVANCE_1
        program.first = (code & 0x3F) * program.code_unit
    elif code & 0xC0 == OFFSET:
        program.operation = OFFSET_EXTENDED
        program.first = code & 0x3F
        program.second, place = uleb_at(memory, place)
    elif code & 0xC0 == RESTORE:
        program.operation = RESTORE_EXTENDED
        program.first = code & 0x3F
    elif ADVANCE_1 <= code <= ADVANCE_4:
        size = 1 << (code - ADVANCE_1)
        program.first = number_of_size(memory, place, size) * program.code_unit
        place += size
    else:
        place = operands(memory, program, code, place)
    program.place = place


def number_of_size(memory, place, size):
    """The unsigned number in 1, 2 or 4 bytes."""
    if size == 1:
        return byte_at(memory, place)
    return unsigned_16_at(memory, place) if size == 2 else unsigned_at(memory, place)


def operands(memory, program, code, place):
    """Read the operands of an instruction without a short form. Returns the place after them."""
    bit = 1 << (code & 0x3F)
    if HAS_FIRST & bit != 0:
        program.first, place = uleb_at(memory, place)
    if HAS_UNSIGNED & bit != 0:
        program.second, place = uleb_at(memory, place)
    elif HAS_SIGNED & bit != 0:
        program.second, place = sleb_at(memory, place)
    elif HAS_BLOCK & bit != 0:
        program.second = place
        length, place = uleb_at(memory, place)
        place += length
    return place


def stack_state(memory, program):
    """Remember what was said so far, or go back to it. Returns whether there is room, or anything to go back to."""
    depth = program.depth - (1 if program.operation == RESTORE_STATE else 0)
    if not 0 <= depth < MAX_REMEMBERED:
        return False
    saved = program.remembered.address + depth * Registers.SIZE
    if program.operation == REMEMBER:
        memory.copy(saved, program.now.address, Registers.SIZE)
        program.depth = depth + 1
    else:
        memory.copy(program.now.address, saved, Registers.SIZE)
        program.depth = depth
    return True


def define_cfa(program):
    """Carry out an instruction about the CFA."""
    now, operation = program.now, program.operation
    if operation == DEFINE_CFA:
        now.cfa_register = program.first
        now.cfa_offset = program.second
        now.cfa_expression = 0
    elif operation == DEFINE_CFA_SIGNED:
        now.cfa_register = program.first
        now.cfa_offset = program.second * program.data_unit
        now.cfa_expression = 0
    elif operation == CFA_REGISTER:
        now.cfa_register = program.first
    elif operation == CFA_OFFSET:
        now.cfa_offset = program.first
    elif operation == CFA_OFFSET_SIGNED:
        now.cfa_offset = program.second * program.data_unit
    elif operation == CFA_EXPRESSION:
        now.cfa_expression = program.second


def define_register(program):
    """Carry out an instruction about a register, if it is the frame pointer or the return address."""
    how = where_it_says(program.operation)
    if how < 0:
        return
    now = program.now
    if program.first == RETURN:
        now.returns = program.at_start.returns if program.operation == RESTORE_EXTENDED else how
        if how == SAVED and program.second * program.data_unit != -8:
            now.returns = BY_EXPRESSION
    elif program.first == BP:
        now.bp = how
        now.bp_offset = program.second
        if program.operation == RESTORE_EXTENDED:
            now.bp = program.at_start.bp
            now.bp_offset = program.at_start.bp_offset
        elif program.operation == OFFSET_NEGATIVE:
            now.bp_offset = -program.second * program.data_unit
        elif how == SAVED:
            now.bp_offset = program.second * program.data_unit


def where_it_says(operation):
    """Where an instruction says that a register is; -1 if it says nothing about a register."""
    if IS_SAVED >> operation & 1:
        return SAVED
    if IS_SAME >> operation & 1:
        return SAME
    if operation == EXPRESSION:
        return BY_EXPRESSION
    return NOWHERE if IS_NOWHERE >> operation & 1 else -1
