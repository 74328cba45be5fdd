"""Unwind tables: from a code address to the rule that leads to its caller.

A module with exceptions or asynchronous unwind tables has a sorted index of its functions (.eh_frame_hdr). An entry
leads to a description of the function (FDE), which shares its beginning with others (CIE). Both are programs; run up
to the code address, they say where the registers of the caller are. Only the stack pointer, the frame pointer and the
return address matter here.

Source: System V ABI for x86-64, section 3.7; Linux Standard Base, Core, chapter 10.6; DWARF 5, section 6.4.
"""

from __future__ import annotations

from heapwright.layout import WORD
from heapwright.native.runtime.stacks.encoded import (
    byte_at,
    signed_16_at,
    signed_at,
    sleb_at,
    uleb_at,
    unsigned_16_at,
    unsigned_at,
    word_at,
)
from heapwright.native.runtime.stacks.instructions import (
    BP,
    BY_EXPRESSION,
    NOWHERE,
    RETURN,
    SAME,
    SAVED,
    SP,
    Program,
    Registers,
    run,
)
from heapwright.native.runtime.stacks.rules import (
    BP_BY_BP,
    BP_BY_CFA,
    BP_LOST,
    BP_SAME,
    BY_BP,
    BY_SLOT,
    BY_SP,
    BY_STUB,
    LAST,
    NO_TABLE,
    SIGNAL,
    rule_of,
)

USUAL_INDEX = 0x3B031B01  # version 1, and the encodings of all known linkers
INDEX_HEAD, INDEX_ENTRY = 12, 8  # bytes
RELATIVE, INDIRECT, ABSENT = 0x10, 0x80, 0xFF  # DW_EH_PE_pcrel, _indirect, _omit
# expressions
BREG_BP, DEREF = 0x76, 0x06
STUB_START, STUB_END, STUB_LENGTH, LITERAL_0 = 0x1A3F00800877, 0x2224332A, 11, 0x30  # see `stub_threshold`
# letters of an augmentation
SIZED, POINTERS, PERSONALITY, EXCEPTIONS, SIGNALS = ord("z"), ord("R"), ord("P"), ord("L"), ord("S")


# --- the index


def description_of(memory, index, address):
    """The address of the description (FDE) that may be of the function at a code address; 0 if there is none."""
    if unsigned_at(memory, index) != USUAL_INDEX:
        return 0
    table = index + INDEX_HEAD
    low = 0
    high = unsigned_at(memory, index + 8)
    while low < high:
        middle = (low + high) >> 1
        if index + signed_at(memory, table + middle * INDEX_ENTRY) <= address:
            low = middle + 1
        else:
            high = middle
    return 0 if low == 0 else index + signed_at(memory, table + (low - 1) * INDEX_ENTRY + 4)


def rule_at(memory, index, address, program):
    """The rule of the instruction at a code address. `index` is its module's .eh_frame_hdr; `program` is space."""
    description = description_of(memory, index, address)
    if description == 0 or not begin(memory, program, description, address):
        return NO_TABLE
    if program.is_signal:
        return SIGNAL
    if not run(memory, program, address):
        return NO_TABLE
    return rule_from(memory, program.now)


# --- descriptions


def begin(memory, program, description, address):
    """Run what the function shares with others. Returns whether it is known, and contains the address."""
    common = description + 4 - unsigned_at(memory, description + 4)
    memory.fill(program.address, Program.SIZE, 0)
    if not read_common(memory, program, common):
        return False
    program.location = 0
    if not run(memory, program, address):
        return False
    program.end = description + 4 + unsigned_at(memory, description)
    memory.copy(program.at_start.address, program.now.address, Registers.SIZE)
    return enter_function(memory, program, description + 8, address)


def enter_function(memory, program, place, address):
    """Read where the function starts and ends, and find its instructions. Returns whether the address is inside."""
    start, place = encoded_at(memory, place, program.encoding)
    size, place = encoded_at(memory, place, program.encoding & 0x0F)
    if program.has_augmentation:
        length, place = uleb_at(memory, place)
        place += length
    program.place = place
    program.location = start
    return start <= address < start + size


def read_common(memory, program, common):
    """Read the head of a CIE. Returns whether everything in it is known."""
    program.end = common + 4 + unsigned_at(memory, common)
    letters = common + 9
    place = letters
    while byte_at(memory, place) != 0:
        place += 1
    program.code_unit, place = uleb_at(memory, place + 1)
    program.data_unit, place = sleb_at(memory, place)
    register, place = uleb_at(memory, place)  # one byte in version 1, which is the same below 128
    program.encoding = 0
    if byte_at(memory, letters) == SIZED:
        program.has_augmentation = 1
        length, place = uleb_at(memory, place)
        if not read_augmentation(memory, program, letters + 1, place):
            return False
        place += length
    elif byte_at(memory, letters) != 0:
        return False
    program.place = place
    return register == RETURN


def read_augmentation(memory, program, letters, place):
    """Read what the letters announce. Returns whether all are known."""
    letter = byte_at(memory, letters)
    while letter != 0:
        if letter == POINTERS:
            program.encoding = byte_at(memory, place)
            place += 1
        elif letter == PERSONALITY:
            _, place = encoded_at(memory, place + 1, byte_at(memory, place))
        elif letter == EXCEPTIONS:
            place += 1
        elif letter == SIGNALS:
            program.is_signal = 1
        else:
            return False
        letters += 1
        letter = byte_at(memory, letters)
    return program.encoding & ~(RELATIVE | 0x0F) == 0


def encoded_at(memory, place, encoding):
    """The address in an encoding (DW_EH_PE) at a place, and the place after it. An indirect one is not followed."""
    if encoding == ABSENT:
        return 0, place
    base = place if encoding & 0x70 == RELATIVE else 0
    form = encoding & 0x0F
    if form == 0x0B:
        return base + signed_at(memory, place), place + 4
    if form == 0x03:
        return base + unsigned_at(memory, place), place + 4
    if form == 0x02:
        return base + unsigned_16_at(memory, place), place + 2
    if form == 0x0A:
        return base + signed_16_at(memory, place), place + 2
    return base + word_at(memory, place), place + 8


# --- rules


def rule_from(memory, now):
    """The rule that the instructions describe."""
    if now.returns == NOWHERE:
        return LAST
    if now.returns != SAVED:
        return NO_TABLE
    bp, bp_offset = caller_bp(memory, now)
    if now.cfa_expression != 0:
        return rule_by_expression(memory, now.cfa_expression, bp, bp_offset)
    if now.cfa_register == SP:
        return rule_of(BY_SP, now.cfa_offset, bp, bp_offset)
    return rule_of(BY_BP, now.cfa_offset, bp, bp_offset) if now.cfa_register == BP else NO_TABLE


def caller_bp(memory, now):
    """Where the caller's frame pointer is, as in `rules`, and the offset."""
    if now.bp == SAME:
        return BP_SAME, 0
    if now.bp == SAVED:
        return BP_BY_CFA, now.bp_offset
    if now.bp == BY_EXPRESSION and byte_at(memory, now.bp_offset + 1) == BREG_BP:
        length, block = uleb_at(memory, now.bp_offset)
        offset, after = sleb_at(memory, block + 1)
        if after == block + length:
            return BP_BY_BP, offset
    return BP_LOST, 0


def rule_by_expression(memory, expression, bp, bp_offset):
    """The rule of a CFA that an expression describes: a function that realigns its stack, or a linkage table."""
    length, block = uleb_at(memory, expression)
    if byte_at(memory, block) == BREG_BP:
        offset, after = sleb_at(memory, block + 1)
        if after + 1 == block + length and byte_at(memory, after) == DEREF:
            return rule_of(BY_SLOT, offset, bp, bp_offset)
    threshold = stub_threshold(memory, block, length)
    return rule_of(BY_STUB, threshold * WORD, bp, bp_offset) if threshold >= 0 else NO_TABLE


def stub_threshold(memory, block, length):
    """The byte of an entry of a linkage table after which its push is done; -1 if the expression is another.

    All linkers write sp + 8 + ((pc & 15) >= threshold) << 3.
    """
    if length != STUB_LENGTH or word_at(memory, block) & 0xFFFFFFFFFFFF != STUB_START:
        return -1
    ends = unsigned_at(memory, block + 7) == STUB_END
    return byte_at(memory, block + 6) - LITERAL_0 if ends else -1
