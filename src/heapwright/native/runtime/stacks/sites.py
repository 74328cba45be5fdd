"""The call stack of each request, and the records of a process that takes them.

`heapwright record --call-sites` sets the depth in the environment. The tables are mapped with the recording's file, and
from then on nothing here needs the kernel, except for stacks that are not the threads' own (`bounds`).
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.locks import acquire, release
from heapwright.native import c
from heapwright.native.runtime import phases, recorder
from heapwright.native.runtime.kernel import local, set_local
from heapwright.native.runtime.process_facts import is_digit
from heapwright.native.runtime.stacks.bounds import find_own_stack
from heapwright.native.runtime.stacks.encoded import byte_at
from heapwright.native.runtime.stacks.interning import number_of_stack
from heapwright.native.runtime.stacks.modules import note_program
from heapwright.native.runtime.stacks.python import find_interpreter
from heapwright.native.runtime.stacks.state import (
    Sites,
    ThreadWords,
    open_tables,
    sites_of_process,
    thread_words,
)
from heapwright.native.runtime.stacks.walk import Walk, take_stack
from heapwright.traces.raw import FORK, REALLOC_TO, THREAD_EXIT, UNKNOWN_SITE
from heapwright.traces.raw_stacks import MAX_DEPTH, VARIABLE

SITES_SLOT = 4  # of the thread's words: the number of its ThreadWords, or NONE_LEFT; above, the run that has them
UNKNOWN = 0  # whether stacks are taken
ZERO = ord("0")
HALF = 32
LOW_HALF = (1 << HALF) - 1
NONE_LEFT = LOW_HALF


def record(operation, log2_align, address, old, size):
    """Record a call, in the fewest steps if nothing is to be done besides."""
    chunk = recorder.chunk_at_hand()
    is_plain = operation != THREAD_EXIT and operation != FORK and recorder.recorder().sites.load() == recorder.OFF  # noqa: PLR1714  to be known when it is compiled
    if is_plain and bool(chunk) and phases.is_of_this_phase(chunk) and recorder.has_room_for_two(chunk):
        recorder.append(chunk, operation, log2_align, address, old, size, UNKNOWN_SITE)
    else:
        record_carefully(operation, log2_align, address, old, size)


def record_carefully(operation, log2_align, address, old, size):
    """Record a call unless there is a pause, with the call stack that asked, if stacks are taken and it is a request.

    Whether there is a pause is asked once: what explains a stack is recorded even if a pause begins meanwhile.
    """
    if phases.is_on():
        record_now(operation, log2_align, address, old, size)
    elif operation >= THREAD_EXIT:
        phases.pass_over(operation)
    if operation == THREAD_EXIT:
        release_words()


def record_now(operation, log2_align, address, old, size):
    """Record a call, with its call stack if it has one."""
    site = UNKNOWN_SITE
    if operation <= REALLOC_TO and recorder.recorder().sites.load() != recorder.OFF:
        site = site_of_request()
    recorder.record(operation, log2_align, address, old, size, site)


def site_of_request():
    """The number of the call stack that called this library; UNKNOWN_SITE if none is taken."""
    if not recorder.current_chunk():
        return UNKNOWN_SITE
    if recorder.recorder().sites.load() == UNKNOWN:
        open_once()
    if not is_taking():
        return UNKNOWN_SITE
    sites = sites_of_process()
    words = words_of_thread(sites)
    walk = c.unset_on_stack(Walk)
    walk.depth = sites.depth
    walk.own_start = words.start if words else 0
    walk.own_end = words.end if words else 0
    take_stack(walk, sites, words)
    if words and words.turn != walk.turn:  # a signal handler has taken stacks meanwhile
        take_stack(walk, sites, words.at(NULL))
    return number_of_stack(sites, walk, words)


# --- the process


def open_once():
    """Map the tables if this run takes call stacks, unless another thread has done so."""
    state = recorder.recorder()
    acquire(state.memory, state.lock)
    opens = state.sites.load() == UNKNOWN
    if opens:
        state.sites.store(tables_if_asked())
    release(state.memory, state.lock)
    if opens and state.sites.load() != recorder.OFF:
        note_program(sites_of_process())


def tables_if_asked():
    """The address of the process's tables; OFF if no stacks are taken, or if there is no room for the tables."""
    depth = depth_asked()
    place = open_tables(depth) if depth != 0 else NULL
    if place == NULL:
        return recorder.OFF
    find_interpreter(Sites(c.process_memory(), place).interpreter)
    return place


def depth_asked():
    """The number of frames to keep of each stack; 0 if none are taken."""
    if recorder.recorder().path != NULL:
        return recorder.recorder().depth
    text = c.getenv(c.text(VARIABLE))
    depth = 0
    while text != NULL and is_digit(byte_at(c.process_memory(), text)):
        depth = min(10 * depth + byte_at(c.process_memory(), text) - ZERO, MAX_DEPTH)
        text += 1
    return depth


def record_anew():
    """In a forked child: record separately. It has one thread, and the numbers of its parent's stacks."""
    recorder.record_anew()
    if is_taking():
        sites = sites_of_process()
        sites.idle.store(NULL)
        sites.threads.store(0)
        set_local(SITES_SLOT, NULL)


def is_taking():
    """Whether this process takes call stacks."""
    return recorder.recorder().sites.load() > 0


# --- the thread


def words_of_thread(sites):
    """The calling thread's words; null if there are too many threads."""
    run = recorder.recorder().runs << HALF
    if local(SITES_SLOT) & ~LOW_HALF != run or local(SITES_SLOT) == NULL:
        set_local(SITES_SLOT, run | claim_words(sites))
    number = local(SITES_SLOT) & LOW_HALF
    return thread_words(sites, number) if number != NONE_LEFT else ThreadWords(sites.memory, NULL)


def claim_words(sites):
    """The number of words for the calling thread: those of a thread that has ended, or new ones."""
    number = pop_idle(sites)
    if number == NULL:
        number = sites.threads.add(1) + 1
        if number > sites.max_threads:
            return NONE_LEFT
    words = thread_words(sites, number)
    words.count = 0
    words.steps = 0
    words.start = NULL
    words.end = NULL
    find_own_stack(words)
    return number


def pop_idle(sites):
    """Take idle words. Returns their number, or 0. The upper half of the list's word counts its changes."""
    while True:
        head = sites.idle.load()
        number = head & LOW_HALF
        if number == NULL:
            return NULL
        following = thread_words(sites, number).next
        if sites.idle.compare_exchange(head, changed(head) | following):
            return number


def release_words():
    """Put the words of the calling thread, which ends, on the list of idle ones."""
    number = local(SITES_SLOT) & LOW_HALF
    if not is_taking() or local(SITES_SLOT) >> HALF != recorder.recorder().runs or number in (NULL, NONE_LEFT):
        return
    sites = sites_of_process()
    set_local(SITES_SLOT, NULL)
    while True:
        head = sites.idle.load()
        thread_words(sites, number).next = head & LOW_HALF
        if sites.idle.compare_exchange(head, changed(head) | number):
            return


def changed(head):
    """The upper half of the next word of the list."""
    return (head & ~LOW_HALF) + (1 << HALF)
