"""The frames of CPython's interpreter, 3.11 to 3.14, read in place as plain structs.

The interpreter runs many Python functions in one native frame, that of its evaluation function. The thread's state has
the innermost Python frame, and each leads to its caller's. The first Python frame of an evaluation is marked:

    3.11           `is_entry`; and a record of the evaluation (_PyCFrame) lies in its native frame
    3.12 to 3.14   a frame without code lies below it, in the native frame itself

So the address of that record or frame says which native frame is an evaluation's, and its Python frames take its
place in the stack. The C library keeps a thread's state under a key of the interpreter's (`autoTSSkey`), whether or not
the thread holds the lock of the interpreter. No other thread changes the frames of this one.

A code object is described at first sight, by its name, its file and its table of lines, because another may have its
address later. Strings are copied as they lie in memory.

Source: CPython Include/internal/pycore_frame.h (later pycore_interpframe_structs.h), pycore_runtime.h, and code.h,
pystate.h and unicodeobject.h of Include/cpython, of versions 3.11.7, 3.12.1, 3.13.0 and 3.14.
"""

from __future__ import annotations

from heapwright.bits import wrapping_mul
from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.runtime.recorder import record
from heapwright.native.runtime.stacks.encoded import byte_at, unsigned_at, word_at
from heapwright.native.runtime.stacks.rules import DOES_NOT, EVALUATES, UNSEEN, role_of, with_role
from heapwright.native.runtime.stacks.state import CODES, ROOM, CodeObject, record_text
from heapwright.traces.raw_stacks import CODE, CODE_NAME, CODE_SHIFT, FILE_NAME, LINE_TABLE, MAX_TEXT, PYTHON_FRAME

INSTR = 56  # of a frame: the instruction that runs
FILE, NAME, LINES = 112, 128, 136  # of a code object
LENGTH, STATE, SIZE, DATA = 16, 32, 16, 32  # of a string; of a bytes object
MAX_NAME = 1 << 12
MAX_FRAMES = 1 << 14  # of one evaluation
MAX_INSTRUCTION = 1 << CODE_SHIFT
MANY = 0x9E3779B97F4A7C15 - (1 << 64)


def find_interpreter(python):
    """Note where the interpreter keeps what, if this process has one of a known version."""
    runtime = c.address_if_any("_PyRuntime")
    version = c.address_if_any("Py_Version")
    if NULL in (runtime, version):
        return
    minor = word_at(c.process_memory(), version) >> 16
    if minor == 0x030B:
        describe_3_11(python)
    elif minor == 0x030C:
        describe_3_12(python)
    elif minor in (0x030D, 0x030E):
        describe_3_13(python, minor)
    else:
        return
    python.runtime = runtime


def describe_3_11(python):
    """The offsets of 3.11."""
    python.tss = 592
    python.thread_id = 152
    python.current = 56
    python.has_cframe = 1
    python.cframe_current = 8
    python.code = 32
    python.previous = 48
    python.is_entry = 68
    python.first_line = 72
    python.instructions = 184
    python.ascii = 48
    python.compact = 72


def describe_3_12(python):
    """The offsets of 3.12."""
    python.tss = 1544
    python.thread_id = 136
    python.current = 56
    python.has_cframe = 1
    python.cframe_current = 0
    python.previous = 8
    python.owner = 70
    python.boundary = 3
    python.first_line = 68
    python.instructions = 192
    python.version = 92
    python.ascii = 40
    python.compact = 56


def describe_3_13(python, minor):
    """The offsets of 3.13 and 3.14."""
    python.tss = 2160 if minor == 0x030D else 2336
    python.thread_id = 152
    python.current = 72
    python.previous = 8
    python.owner = 70 if minor == 0x030D else 74
    python.boundary = 3
    python.first_line = 68
    python.instructions = 200 if minor == 0x030D else 208
    python.version = 92
    python.ascii = 40
    python.compact = 56


# --- the frames


def enter_python(walk, python):
    """Start at the innermost Python frame of the calling thread, if it has any."""
    memory = walk.memory
    walk.python = 0
    walk.record = 0
    key = python.runtime + python.tss
    if python.runtime == NULL or unsigned_at(memory, key) != 1:
        return
    state = c.pthread_getspecific(unsigned_at(memory, key + 4))
    if state == NULL or word_at(memory, state + python.thread_id) != c.pthread_self():
        return
    current = word_at(memory, state + python.current)
    if python.has_cframe != 0:
        walk.record = current if python.is_entry != 0 else 0
        current = word_at(memory, current + python.cframe_current)
    walk.python = current


def is_evaluation(walk, python, rule, cfa):
    """Whether a native frame that ends at `cfa` is that of the innermost evaluation that has not been passed."""
    role = role_of(rule)
    if role == UNSEEN:
        mark = walk.record if python.is_entry != 0 else boundary_from(walk, python)
        if mark != NULL:
            role = EVALUATES if walk.sp <= mark < cfa else DOES_NOT
            if walk.cached:
                walk.cached.rule.compare_exchange(rule, with_role(rule, role))
    return role == EVALUATES


def boundary_from(walk, python):
    """The frame that lies below the Python frames of the innermost evaluation; NULL if they are too many."""
    frame = walk.python
    for _ in range(MAX_FRAMES):
        if frame == NULL or byte_at(walk.memory, frame + python.owner) >= python.boundary:
            return frame
        frame = word_at(walk.memory, frame + python.previous)
    return NULL


def add_frames(walk, sites):
    """Add the Python frames of one evaluation to the stack, and pass it."""
    memory, python = walk.memory, sites.interpreter
    frame = walk.python
    is_last = False
    while frame != NULL and walk.count < walk.depth + ROOM:
        is_last = ends_evaluation(memory, python, frame)
        if is_in_stack(memory, python, frame):
            walk.frames[walk.count] = value_of(memory, sites, frame)
            walk.count += 1
        frame = word_at(memory, frame + python.previous)
        if is_last:
            break
    if not is_last:
        walk.is_plain = 0  # a cut inside of an evaluation is not in the trail
    walk.record = caller_record(memory, walk.record)
    walk.python = frame


def caller_record(memory, record):
    """The record of the evaluation that called one with a record; NULL if it has none."""
    return word_at(memory, record + 16) if record != NULL else NULL


def is_in_stack(memory, python, frame):
    """Whether a frame is that of a Python function."""
    return python.is_entry != 0 or byte_at(memory, frame + python.owner) < python.boundary


def ends_evaluation(memory, python, frame):
    """Whether a frame is the first of its evaluation."""
    if python.is_entry != 0:
        return byte_at(memory, frame + python.is_entry) != 0
    return byte_at(memory, frame + python.owner) >= python.boundary


def value_of(memory, sites, frame):
    """What stands for a Python frame in a stack: the number of its code, and the offset of the instruction."""
    python = sites.interpreter
    code = word_at(memory, frame + python.code) & -4  # a tagged reference in 3.14
    offset = word_at(memory, frame + INSTR) - code - python.instructions
    if not 0 <= offset < MAX_INSTRUCTION:
        offset = 0
    return PYTHON_FRAME | number_of(memory, sites, code) << CODE_SHIFT | offset


# --- code objects


def number_of(memory, sites, code):
    """The number of a code object. It gets one at first sight, or if another object had its address."""
    seal = print_of(memory, sites.interpreter, code)
    place = wrapping_mul(code >> 4, MANY) >> 20
    for i in range(64):
        known = CodeObject(memory, sites.first_code + (place + i & CODES - 1) * CodeObject.SIZE)
        address = known.code.load()
        if address == NULL and known.code.compare_exchange(NULL, code):
            return describe(memory, sites, known, code, seal)
        if address == code or known.code.load() == code:
            number = known.number.load()
            if number != 0 and known.print.load() == seal and known.number.load() == number:
                return number
            return describe(memory, sites, known, code, seal)
    return 0


def print_of(memory, python, code):
    """A number that two code objects which had one address hardly share."""
    number = word_at(memory, code + LINES) ^ wrapping_mul(word_at(memory, code + NAME), MANY)
    number ^= unsigned_at(memory, code + python.first_line) << 32
    number ^= wrapping_mul(word_at(memory, code + FILE), 5) ^ word_at(memory, code + SIZE)
    if python.version != 0:
        number ^= unsigned_at(memory, code + python.version) << 24
    return number


def describe(memory, sites, known, code, seal):
    """Record a code object. Returns its new number."""
    python = sites.interpreter
    number = sites.codes.add(1) + 1
    known.number.store(0)
    known.print.store(seal)
    record(CODE, 0, unsigned_at(memory, code + python.first_line), NULL, 0, number)
    record_string(memory, python, CODE_NAME, number, word_at(memory, code + NAME))
    record_string(memory, python, FILE_NAME, number, word_at(memory, code + FILE))
    lines = word_at(memory, code + LINES)
    record_text(LINE_TABLE, number, lines + DATA, min(word_at(memory, lines + SIZE), MAX_TEXT))
    known.number.store(number)
    return number


def record_string(memory, python, kind, number, string):
    """Record a string's characters; the kind says how many bytes each has (1, 2 or 4)."""
    state = unsigned_at(memory, string + STATE)
    width = state >> 2 & 7
    size = python.ascii if state >> 6 & 1 else python.compact
    length = min(word_at(memory, string + LENGTH) * width, MAX_NAME)
    record_text(kind + width, number, string + size, length)
