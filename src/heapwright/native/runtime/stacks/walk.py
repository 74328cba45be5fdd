"""The frames of a call stack, from the innermost on.

Each step finds the rule of a return address, which leads to the caller's frame. Rules are kept in a table of the
process, by address. Where no unwind table helps, the frame pointer may: a function that has one saved its caller's
there. A signal handler is called from the kernel's frame, which has the registers of what it interrupted, on the same
stack or on another. Every load lies between the frame in hand and the end of its stack (`bounds`). So damaged stacks
and wrong tables may cut a stack short, and no more.
"""

from __future__ import annotations

from heapwright.bits import wrapping_mul
from heapwright.layout import NULL, WORD, Array, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.stacks.bounds import change_stack, enter_stack, is_readable
from heapwright.native.runtime.stacks.encoded import word_at
from heapwright.native.runtime.stacks.instructions import Program
from heapwright.native.runtime.stacks.modules import module_at, module_of
from heapwright.native.runtime.stacks.python import add_frames, enter_python, is_evaluation
from heapwright.native.runtime.stacks.rules import (
    BP_BY_BP,
    BP_BY_CFA,
    BP_SAME,
    BY_BP,
    BY_SLOT,
    BY_SP,
    BY_STUB,
    LAST,
    NO_TABLE,
    SIGNAL,
    bp_of,
    bp_offset_of,
    in_module,
    kind_of,
    module_in,
    offset_of,
)
from heapwright.native.runtime.stacks.state import MAX_FRAMES, ROOM, RULES, WAYS, CachedRule, ThreadWords
from heapwright.native.runtime.stacks.tables import rule_at
from heapwright.native.runtime.stacks.trail import begin_step, begin_trail, end_step, end_trail, is_shared
from heapwright.traces.raw_stacks import CUT_FRAME, LOST_FRAME, MODULE_SHIFT

MANY = 0x9E3779B97F4A7C15 - (1 << 64)
RULES_SHIFT = 64 - 15  # to a place among RULES
BUSY = 1
GENERATION_SHIFT = 48
MAX_CODE = 1 << 47
SAVED_BP, SAVED_SP, SAVED_PC = 120, 160, 168  # in the kernel's frame of a signal: ucontext.uc_mcontext
MAX_GUESSES = 32  # frames in a row by the frame pointer alone


class Walk(Struct):
    """A walk over one stack."""

    pc: Word  # the return address of the frame in hand
    sp: Word
    bp: Word
    low: Word  # the memory of its stack: see `bounds`
    high: Word
    is_foreign: Word
    own_start: Word
    own_end: Word
    python: Word  # the innermost Python frame that is not in the stack yet
    record: Word  # 3.11: of its evaluation
    guesses: Word
    is_lost: Word  # callers are missing
    words: ThreadWords  # null, or: see `trail`
    turn: Word
    next: Word  # the step of the trail that may come next; -1 if there is none
    shared: Word  # frames of the last stack that are the outer ones of this stack, too
    is_plain: Word  # whether this walk can become the trail
    new_steps: Word
    slot: Word  # where the caller's frame pointer was saved
    depth: Word
    count: Word
    cached: CachedRule  # the place in the table of the frame in hand; null if it has none
    is_cut: Word  # its outermost frames are left out
    frames: Array[Word, MAX_FRAMES + 1]


def take_stack(walk, sites, words):
    """Note the frames of the calling thread outside this library: their values, the innermost first.

    The last `walk.shared` frames are those of the thread's last stack and are left out.
    """
    walk.count = 0
    walk.guesses = 0
    walk.is_lost = 0
    leave_library(walk)
    enter_stack(walk, walk.sp)
    enter_python(walk, sites.interpreter)
    begin_trail(walk, sites, words)
    is_whole = take_frames(walk, sites)
    end_trail(walk, is_whole)


def take_frames(walk, sites):
    """Add all frames to the stack. Returns whether it is known to its end, or to a cut.

    A cut stays at its frame as long as the stack inside it has `walk.depth` frames, and at most twice ROOM more.
    """
    while walk.count < walk.depth + ROOM:
        if is_shared(walk, sites):
            return True
        begin_step(walk)
        has_caller = step(walk, sites)
        end_step(walk)
        if not has_caller:
            walk.is_cut = 0
            return walk.is_lost == 0
    cut(walk)
    return True


def cut(walk):
    """Leave out the frame in hand and its callers: a mark stands for them."""
    begin_step(walk)
    walk.frames[walk.count] = CUT_FRAME
    walk.count += 1
    walk.slot = NULL
    walk.is_cut = 1
    end_step(walk)


def leave_library(walk):
    """Go to the frame that called this library. All functions of the library have frame pointers."""
    memory = walk.memory
    frame = c.frame_address()
    while c.library_start() <= word_at(memory, frame + 8) < c.library_end():
        frame = word_at(memory, frame)
    walk.pc = word_at(memory, frame + 8)
    walk.sp = frame + 16
    walk.bp = word_at(memory, frame)


def step(walk, sites):
    """Add the frame in hand to the stack, and go to its caller. Returns whether there is one."""
    rule = find_rule(walk, sites)
    cfa = cfa_of(walk, rule)
    if walk.python != NULL and is_evaluation(walk, sites.interpreter, rule, cfa):
        add_frames(walk, sites)
    else:
        walk.frames[walk.count] = value_of(sites, walk.pc, rule)
        walk.count += 1
    walk.slot = NULL
    if kind_of(rule) == LAST:
        return False
    if kind_of(rule) not in (BY_SP, BY_BP):
        walk.is_plain = 0  # what the step depends on is not in the trail
    if kind_of(rule) == SIGNAL:
        return leave_signal(walk) or lose(walk, sites)
    return leave(walk, rule, cfa) or lose(walk, sites)


def cfa_of(walk, rule):
    """The stack pointer of the caller at the call; 0 if it cannot be known."""
    kind = kind_of(rule)
    if kind == BY_SP:
        return walk.sp + offset_of(rule)
    if kind == BY_BP:
        return walk.bp + offset_of(rule)
    if kind == BY_SLOT:
        slot = walk.bp + offset_of(rule)
        return word_at(walk.memory, slot) if is_readable(walk, slot) else 0
    if kind == BY_STUB:
        return walk.sp + (16 if (walk.pc - 1 & 15) >= offset_of(rule) // WORD else 8)
    is_guess = kind == NO_TABLE and walk.guesses < MAX_GUESSES and walk.bp % 8 == 0
    return walk.bp + 16 if is_guess else 0


def leave(walk, rule, cfa):
    """Go to the caller of the frame in hand. Returns whether there may be one."""
    memory, kind = walk.memory, kind_of(rule)
    if cfa <= walk.sp or not is_readable(walk, cfa - 8):
        walk.is_plain = 0
        if kind in (BY_SP, NO_TABLE) or not change_stack(walk, cfa - 16) or not is_readable(walk, cfa - 8):
            return False
    walk.guesses = walk.guesses + 1 if kind == NO_TABLE else 0
    walk.pc = word_at(memory, cfa - 8)
    walk.bp = word_at(memory, walk.bp) if kind == NO_TABLE else caller_bp(walk, rule, cfa)
    walk.sp = cfa
    return 4096 <= walk.pc < MAX_CODE


def caller_bp(walk, rule, cfa):
    """The frame pointer of the caller; 0 if it cannot be known."""
    how = bp_of(rule)
    if how == BP_SAME:
        return walk.bp
    place = 0
    if how == BP_BY_CFA:
        place = cfa + bp_offset_of(rule)
    elif how == BP_BY_BP:
        place = walk.bp + bp_offset_of(rule)
    walk.slot = place
    return word_at(walk.memory, place) if place != 0 and is_readable(walk, place) else 0


def leave_signal(walk):
    """Go to what a signal interrupted. Returns whether its registers make sense."""
    memory, sp = walk.memory, walk.sp
    if not is_readable(walk, sp + SAVED_PC):
        return False
    walk.pc = word_at(memory, sp + SAVED_PC) + 1  # as if the instruction before it had called
    walk.bp = word_at(memory, sp + SAVED_BP)
    walk.sp = word_at(memory, sp + SAVED_SP)
    if not walk.low <= walk.sp < walk.high and not change_stack(walk, walk.sp & -8):
        return False
    return 4096 <= walk.pc < MAX_CODE


def lose(walk, sites):
    """Note that the callers are not known, except Python's. Returns False. A stack may end with a null address."""
    walk.is_lost = 1
    if walk.pc != 0 and walk.count < walk.depth + ROOM:
        walk.frames[walk.count] = LOST_FRAME
        walk.count += 1
    while walk.python != NULL and walk.count < walk.depth + ROOM:
        add_frames(walk, sites)
    return False


# --- rules, by address


def find_rule(walk, sites):
    """Find the rule of the frame in hand, in the table or in its module."""
    key = sites.generation.load() << GENERATION_SHIFT | walk.pc
    place = wrapping_mul(walk.pc, MANY) >> RULES_SHIFT & RULES - WAYS
    first = sites.first_rule + place * CachedRule.SIZE
    for way in range(WAYS):
        cached = CachedRule(walk.memory, first + way * CachedRule.SIZE)
        if cached.key.load() == key:
            rule = cached.rule.load()
            if cached.key.load() == key:  # not replaced meanwhile
                walk.cached = cached
                return rule
    rule = learn(walk, sites)
    walk.cached = keep(walk, first, key, rule)
    return rule


def learn(walk, sites):
    """Find the rule of the frame in hand in its module."""
    number = module_at(sites, walk.pc - 1)
    if number == 0:
        return NO_TABLE
    index = module_of(sites, number).index
    rule = rule_at(walk.memory, index, walk.pc - 1, c.unset_on_stack(Program)) if index != NULL else NO_TABLE
    return in_module(rule, number)


def keep(walk, first, key, rule):
    """Put a rule into the table, unless another thread writes to its place, or it is of no module."""
    cached = CachedRule(walk.memory, first)
    for way in range(WAYS):
        cached = cached.at(first + way * CachedRule.SIZE)
        if cached.key.load() == 0:
            break
    else:
        cached = cached.at(first + (key >> 4) % WAYS * CachedRule.SIZE)
    old = cached.key.load()
    if rule != NO_TABLE and old != BUSY and cached.key.compare_exchange(old, BUSY):
        cached.rule.store(rule)
        cached.key.store(key)
        return cached
    return cached.at(NULL)


def value_of(sites, pc, rule):
    """What stands for a native frame in a stack."""
    number = module_in(rule)
    return number << MODULE_SHIFT | pc - module_of(sites, number).bias if number != 0 else pc
