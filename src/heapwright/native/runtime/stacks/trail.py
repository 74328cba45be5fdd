"""The walk over a thread's last stack: most requests share their outer callers with the one before.

Each step of that walk is kept with the registers that it began with, from the outermost on. If a new walk comes to the
same registers, its further steps are the same if the return addresses, the saved frame pointers and Python's frames in
memory are. So these are compared, one after the other, and neither rules nor numbers of stacks are needed.

A deep stack is cut. The registers of the first frame that is left out are the outermost step, so the steps inside it
are compared as all others are.

A signal handler may walk, too, and leave its own steps here. Then the number of walks (`turn`) has changed, and the
walk that it interrupted begins anew without the trail.
"""

from __future__ import annotations

from heapwright.layout import NULL, WORD, Struct, Word
from heapwright.native.runtime.stacks.encoded import word_at
from heapwright.native.runtime.stacks.python import caller_record, ends_evaluation, is_in_stack, value_of
from heapwright.native.runtime.stacks.state import MAX_STEPS, ROOM, STEP_WORDS


class Step(Struct):
    sp: Word  # the registers that it began with
    pc: Word
    bp: Word
    slot: Word  # where the caller's frame pointer was saved; 0 if it stayed in the register
    python: Word  # as in the Walk when it began
    record: Word
    outer: Word  # frames of the stack that lie outside it; while the walk goes on, frames up to its own
    unused: Word


def step_at(words, place):
    """A step of the last walk, from the outermost on."""
    return Step(words.memory, words.trail.address + place * STEP_WORDS * WORD)


def new_step_at(words, place):
    """A step of this walk, from the innermost on."""
    return Step(words.memory, words.steps_now.address + place * STEP_WORDS * WORD)


def begin_trail(walk, sites, words):
    """Start a walk that may follow the last one. `words` may be null; then it does not."""
    walk.words = words
    walk.shared = 0
    walk.new_steps = 0
    walk.next = -1
    walk.is_cut = 0
    walk.is_plain = 1 if words and not walk.is_foreign else 0
    if not words:
        return
    words.turn += 1
    walk.turn = words.turn
    if walk.is_plain and words.generation == sites.generation.load():
        walk.next = words.steps - 1
        walk.is_cut = words.is_cut
    words.generation = sites.generation.load()


def is_shared(walk, sites):
    """Whether the frame in hand and all its callers are those of the last stack: `walk.shared` frames."""
    words = walk.words
    while walk.next >= 0 and step_at(words, walk.next).sp < walk.sp:
        walk.next -= 1
    if walk.next < 0 or not is_in_hand(walk, step_at(words, walk.next)):
        return False
    changed = first_change(walk, sites, words)
    if changed > 0:
        walk.next = changed - 1
        return False
    shared = end_of(words, walk.next)
    total = walk.count + shared
    if total > walk.depth + 2 * ROOM or (walk.is_cut and total <= walk.depth):
        walk.next = -1
        walk.is_cut = 0
        return False
    walk.shared = shared
    return True


def is_in_hand(walk, step):
    """Whether a step began as the next one of this walk does."""
    is_same = step.sp == walk.sp and step.pc == walk.pc and step.bp == walk.bp
    return is_same and step.python == walk.python and step.record == walk.record


def first_change(walk, sites, words):
    """The innermost step from `walk.next` on whose caller is another now; 0 if there is none."""
    for place in range(walk.next, 0, -1):
        step, caller = step_at(words, place), step_at(words, place - 1)
        if word_at(walk.memory, caller.sp - WORD) != caller.pc:
            return place
        if step.slot != NULL and word_at(walk.memory, step.slot) != caller.bp:
            return place
        if step.python != caller.python and not is_python_same(sites, words, place):
            return place
    return 0


def end_of(words, place):
    """How many frames of the last stack are those of a step and of all outside it."""
    return words.count if place == words.steps - 1 else step_at(words, place + 1).outer


def is_python_same(sites, words, place):
    """Whether the evaluation that a step passed has the same Python frames now."""
    memory, python = words.memory, sites.interpreter
    step, caller = step_at(words, place), step_at(words, place - 1)
    frame, last = step.python, end_of(words, place)
    while frame != NULL:
        if is_in_stack(memory, python, frame):
            last -= 1
            if last < step.outer or words.values[last] != value_of(memory, sites, frame):
                return False
        is_end = ends_evaluation(memory, python, frame)
        frame = word_at(memory, frame + python.previous)
        if is_end:
            break
    is_record_same = caller_record(memory, step.record) == caller.record
    return last == step.outer and frame == caller.python and is_record_same


# --- the steps of this walk


def begin_step(walk):
    """Note the registers with which a step begins."""
    if not walk.is_plain or walk.new_steps == MAX_STEPS:
        walk.is_plain = 0
        return
    step = new_step_at(walk.words, walk.new_steps)
    step.sp = walk.sp
    step.pc = walk.pc
    step.bp = walk.bp
    step.python = walk.python
    step.record = walk.record


def end_step(walk):
    """Note what a step found."""
    if walk.is_plain:
        step = new_step_at(walk.words, walk.new_steps)
        step.slot = walk.slot
        step.outer = walk.count
        walk.new_steps += 1


def end_trail(walk, is_whole):
    """Keep the steps for the next walk, if this one has come to the end of the stack, or to a cut."""
    words = walk.words
    if not words:
        return
    kept = walk.next + 1 if walk.shared != 0 else 0
    count = kept + walk.new_steps
    words.steps = 0
    if is_whole and walk.is_plain and count <= MAX_STEPS and words.turn == walk.turn:
        for place in range(kept, count):
            step = step_at(words, place)
            words.memory.copy(step.address, new_step_at(words, count - 1 - place).address, Step.SIZE)
            step.outer = walk.shared + walk.count - step.outer
        words.steps = count
        words.is_cut = walk.is_cut
