"""The tables of a process that records call stacks, in one mapping, and the records that describe them.

A forked child inherits the tables with the numbers in them; the records of its parent describe them.
"""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word, Word32
from heapwright.native import c
from heapwright.native.runtime.linux import NO_RESERVE, PAGE, PRIVATE_ANONYMOUS, READ_WRITE
from heapwright.native.runtime.recorder import affordable, record, recorder
from heapwright.native.runtime.stacks.encoded import byte_at
from heapwright.traces.raw_stacks import MAX_DEPTH, PIECE, TEXT

MAX_MODULES = 4096
RULES = 1 << 15  # places in the table of rules
WAYS = 4  # places where the rule of a code address may be: a line of the processor's cache
CODES = 1 << 17  # places in the table of code objects
CHAINS = 1 << 20  # of the table of stacks
RECENT = 256  # stacks that a thread keeps at hand
MAX_STEPS, STEP_WORDS = 128, 8  # of a trail
ROOM = 32  # further frames, which are left out when the trace is written, so that the cut need not move with each call
MAX_FRAMES = MAX_DEPTH + 2 * ROOM + 1  # with the mark of a cut
SMALLEST, LARGEST = 1 << 18, 1 << 24  # stacks that there is room for


class Interpreter(Struct):
    """Where CPython keeps what: see `python`."""

    runtime: Word  # the address of _PyRuntime; 0 without CPython, or with one of an unknown version
    tss: Word  # offsets
    thread_id: Word
    current: Word
    has_cframe: Word
    cframe_current: Word
    code: Word
    previous: Word
    owner: Word
    is_entry: Word  # 0: an owner from `boundary` on says so
    boundary: Word
    first_line: Word
    instructions: Word
    version: Word  # of a code object; 0 if it has none
    ascii: Word
    compact: Word


class Sites(Struct):
    """The process's own words."""

    depth: Word  # frames of a stack that are kept
    generation: Atomic[Word]  # one more after each dlclose
    modules: Atomic[Word]  # the numbers given so far
    codes: Atomic[Word]
    stacks: Atomic[Word]
    max_stacks: Word
    idle: Atomic[Word]  # the words of threads that have ended: see `threads`
    threads: Atomic[Word]
    max_threads: Word
    interpreter: Inline[Interpreter]
    first_module: Word  # the addresses of the tables
    first_rule: Word
    first_code: Word
    first_chain: Word
    first_stack: Word
    first_thread: Word


class Module(Struct):
    identity: Atomic[Word]  # what `modules.identity_of` says; written last
    generation: Word
    start: Word
    end: Word
    bias: Word
    index: Word  # its .eh_frame_hdr, or 0


class CachedRule(Struct):
    """The rule of a code address, for all threads. A key of 0 or 1: nobody may use the rest."""

    key: Atomic[Word]
    rule: Atomic[Word]


class CodeObject(Struct):
    """A code object of Python that has a number."""

    code: Atomic[Word]  # its address
    print: Atomic[Word]
    number: Atomic[Word]


class Chain(Struct):
    first: Atomic[Word]


class Stack(Struct):
    value: Word
    parent: Word32
    next: Word32  # of the same chain


class ThreadWords(Struct):
    """What a thread remembers: where its own stack is, the last call stack, from its outermost frame on, and some of
    the stacks that it found lately. A link is a frame's parent << 32 | stack."""

    next: Word  # idle thread words
    start: Word
    end: Word
    count: Word
    values: Array[Word, MAX_FRAMES + 1]
    links: Array[Word, MAX_FRAMES + 1]
    recent_values: Array[Word, RECENT]
    recent_links: Array[Word, RECENT]
    turn: Word  # walks so far, and the trail of the last one: see `trail`
    generation: Word
    steps: Word
    is_cut: Word  # the outermost of these steps stands for the callers that are left out
    trail: Array[Word, MAX_STEPS * STEP_WORDS]
    steps_now: Array[Word, MAX_STEPS * STEP_WORDS]


class Text(Struct):
    first: Word
    second: Word


def open_tables(depth):
    """Map the tables of this process. Returns the address of its Sites, or NULL."""
    is_limited = affordable() < LARGEST * Stack.SIZE * 4
    stacks = SMALLEST if is_limited else LARGEST
    threads = 64 if is_limited else 4096
    sizes = (Sites.SIZE, MAX_MODULES * Module.SIZE, RULES * CachedRule.SIZE, CODES * CodeObject.SIZE)
    tail = CHAINS * Chain.SIZE + stacks * Stack.SIZE + threads * align_up(ThreadWords.SIZE, 64)
    size = align_up(sizes[0] + sizes[1] + sizes[2] + sizes[3] + tail + 4096, PAGE)
    place = c.mmap(0, size, READ_WRITE, PRIVATE_ANONYMOUS | NO_RESERVE, -1, 0)
    if place == -1:
        return NULL
    sites = Sites(c.process_memory(), place)
    sites.depth = depth
    sites.max_stacks = stacks
    sites.max_threads = threads
    sites.first_rule = align_up(place + sizes[0], 64)
    sites.first_chain = sites.first_rule + sizes[2]
    sites.first_stack = sites.first_chain + CHAINS * Chain.SIZE
    sites.first_thread = sites.first_stack + stacks * Stack.SIZE
    sites.first_module = sites.first_thread + threads * align_up(ThreadWords.SIZE, 64)
    sites.first_code = sites.first_module + sizes[1]
    return place


def sites_of_process():
    """The process's words. They exist."""
    return Sites(c.process_memory(), recorder().sites.load())


def thread_words(sites, number):
    """The words of thread `number`, from 1."""
    return ThreadWords(sites.memory, sites.first_thread + (number - 1) * align_up(ThreadWords.SIZE, 64))


# --- records


def record_text(kind, owner, address, length):
    """Record a text that belongs to module or code object number `owner`."""
    memory = c.process_memory()
    piece = c.on_stack(Text)
    place = 0
    while place < length:
        piece.first = 0
        piece.second = 0
        memory.copy(piece.address, address + place, min(PIECE, length - place))
        record(TEXT, kind, place << 32 | length, piece.first, piece.second, owner)
        place += PIECE


def length_of(address, limit):
    """The length of a C string, at most `limit`."""
    memory = c.process_memory()
    length = 0
    while length < limit and byte_at(memory, address + length) != 0:
        length += 1
    return length
