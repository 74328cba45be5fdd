"""Stop the other threads of the process for a moment in which pages of the heap move: none of their writes may be lost.

    stopper                                       each other thread
    blocks its own signals
    lists the threads in /proc/self/task
    makes the number of the stop odd
    sends SIGURG to each                   -->    its system call ends, and its handler arrives
    waits until all have arrived           <--    and waits for the number to change
    moves pages
    makes the number even, wakes them      -->    its handler returns; most system calls start anew
    waits until all have left, so that each runs before the next stop

A thread has arrived in its own code, so the kernel does not write for it meanwhile. All have arrived when their count,
plus the stopper, is the kernel's count of threads: then nobody is left who could start another one.

SIGURG is ignored by default. So a signal that is seen late, even after an exec, ends no program, and debuggers let it
pass. A process that uses SIGURG is not stopped, nor one in which some thread blocks it, nor the child of a vfork: its
parent has threads that /proc/self does not show. If a thread does not arrive in time, all others are let go.

Written in the dialect. Sources: signal(7), proc(5), tgkill(2), getdents(2); Go's runtime, which also prefers SIGURG
(proposal 24543).
"""

from __future__ import annotations

from heapwright.layout import NULL, Array, Atomic, Byte, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.kernel import errno, runtime, set_errno
from heapwright.native.runtime.linux import (
    ALL,
    CLOSE,
    CLOSE_ON_EXEC,
    DEFAULT_ACTION,
    FUTEX,
    FUTEX_WAIT,
    FUTEX_WAKE,
    GET_FOLDER,
    HERE,
    ON_STACK,
    OPEN_AT,
    OPEN_TO_READ,
    READ,
    REPLACE_MASK,
    RESTART,
    REWIND,
    SIGNAL_THREAD,
    SIGPROCMASK,
    STATUS,
    STEADY,
    THREAD_ID,
    URGENT,
)
from heapwright.native.runtime.process_facts import is_digit, kernel_thread, number_at
from heapwright.native.runtime.signals import Action
from heapwright.native.stopping import stop_handler, stop_words

SLOW_PATHS = ("stop_others", "resume_others")
NUMBER = 32  # position of the stop's number
LOW_HALF = (1 << NUMBER) - 1
MAX_THREADS = 64
PATIENCE = 10_000_000  # nanoseconds until all threads must have arrived, or left
DOZE = 1_000_000  # nanoseconds until the stopper counts the threads again, if none arrives
BLINK = 50_000  # nanoseconds until it looks again whether all have left
DOT, LAST_LETTER, BLOCKED = 46, 0x6B, 1 << (URGENT - 1) % 4  # `.`, the k of `SigBlk`
DIGIT = 15 - (URGENT - 1) // 4  # the place of the hexadecimal digit that has the signal's bit


class Stop(Struct):
    state: Atomic[Word]  # the number of the stop, and of the threads that are inside the handler
    mask: Word  # the stopper's signals, while it blocks all


class Buffer(Struct):
    """Bytes of a file, or the list of a folder."""

    letters: Array[Byte, 4096]


class Status(Struct):
    """The part of C's struct stat that is used here."""

    device: Word
    number: Word
    links: Word  # of a folder: its folders, and two
    others: Array[Word, 15]


class Path(Struct):
    letters: Array[Byte, 32]


class Time(Struct):
    seconds: Word
    nanoseconds: Word


# --- the calls of `heap.memory`


def stop_others():
    """Stop all other threads and block the caller's signals. Returns 0, or -1 and leaves all as it was."""
    saved, stop = errno(), the_stop()
    set_mask(stop, -1, stop.address + Stop.mask.offset)
    stopped = runtime().memory.single_threaded() or stop_threads(stop)
    if not stopped:
        set_mask(stop, stop.mask, NULL)
    set_errno(saved)
    return 0 if stopped else -1


def resume_others():
    """Let the others go on, and the caller get its signals."""
    saved, stop = errno(), the_stop()
    end(stop)
    set_mask(stop, stop.mask, NULL)
    set_errno(saved)


def the_stop():
    """The words of the stop. The caller holds a lock of the heap, so there is only one."""
    return Stop(c.process_memory(), stop_words())


def set_mask(stop, mask, before):
    """Set the mask of the calling thread's signals, all of them, the C library's own too."""
    new = c.on_stack(Time)
    new.seconds = mask
    c.syscall(SIGPROCMASK, REPLACE_MASK, new.address, before, 8, 0)


# --- a stop


def stop_threads(stop):
    """Stop the other threads; return whether all of them are."""
    folder = c.syscall(OPEN_AT, HERE, c.text("/proc/self/task"), OPEN_TO_READ | CLOSE_ON_EXEC, 0, 0)
    if folder < 0:
        return False
    list_of_threads = c.unset_on_stack(Buffer)
    stopped = inside(stop) == 0 and can_be_stopped(folder, list_of_threads) and has_handler()
    if stopped:
        stop.state.store(number_of(stop) + 1 << NUMBER)
        stopped = have_arrived(stop, folder, list_of_threads)
        if not stopped:
            end(stop)
    c.syscall(CLOSE, folder, 0, 0, 0, 0)
    return stopped


def number_of(stop):
    """The number of the stop that lasts, or of the moment since the last one."""
    return stop.state.load() >> NUMBER & LOW_HALF >> 2  # far from the sign


def inside(stop):
    """The number of threads that have arrived and not left."""
    return stop.state.load() & LOW_HALF


def end(stop):
    """End the stop, if one lasts: wake those who wait for that, and let them leave."""
    if number_of(stop) & 1 == 0:
        return
    stop.state.add(1 << NUMBER)
    c.syscall(FUTEX, stop.address + NUMBER // 8, FUTEX_WAKE, ALL, 0, 0)
    limit = c.nanoseconds(STEADY) + PATIENCE
    left = inside(stop)
    while left != 0 and c.nanoseconds(STEADY) < limit:
        sleep_while(stop, left, BLINK)
        left = inside(stop)


def has_handler():
    """Whether SIGURG has our handler. It gets that only in place of the default."""
    action = c.on_stack(Action)
    c.real_sigaction(URGENT, NULL, action.address)
    if action.handler == DEFAULT_ACTION:
        action.handler = stop_handler()
        action.flags = RESTART | ON_STACK
        for i in range(len(action.mask)):
            action.mask[i] = -1
        c.real_sigaction(URGENT, action.address, NULL)
        c.real_sigaction(URGENT, NULL, action.address)
    return action.handler == stop_handler()


def have_arrived(stop, folder, listed):
    """Send the signal and wait until all other threads have arrived; return whether they have."""
    limit = c.nanoseconds(STEADY) + PATIENCE
    signalled = signal_all(folder, listed)
    while c.nanoseconds(STEADY) < limit:
        arrived = inside(stop)
        others = threads_in(folder) - 1  # read after `arrived`: those who arrived are among them, and start no thread
        if others == arrived:
            return True
        if others > signalled:
            signalled = signal_all(folder, listed)
        sleep_while(stop, arrived, DOZE)
    return False


def sleep_while(stop, count, most):
    """Sleep until another thread arrives, or for `most` nanoseconds."""
    time = c.on_stack(Time)
    time.nanoseconds = most
    c.syscall(FUTEX, stop.address, FUTEX_WAIT, count, time.address, 0)


# --- the threads


def threads_in(folder):
    """The number of threads, the caller included: the folder has a link for each, and two."""
    status = c.on_stack(Status)
    return status.links - 2 if c.syscall(STATUS, folder, status.address, 0, 0, 0) == 0 else -1


def can_be_stopped(folder, listed):
    """Whether the process is the caller's own, its threads are few, and none of them blocks the signal."""
    own, size = c.syscall(THREAD_ID, 0, 0, 0, 0, 0), list_threads(folder, listed)
    found = own == kernel_thread() and size > 0 and threads_in(folder) <= MAX_THREADS
    place = 0
    while found and place < size:
        if is_thread(listed, place) and thread_at(listed, place) != own:
            found = not blocks(folder, listed, place)
        place += length_at(listed, place)
    return found


def signal_all(folder, listed):
    """Send the signal to all threads but the caller; return the number of these."""
    own, process, count = c.syscall(THREAD_ID, 0, 0, 0, 0, 0), c.getpid(), 0
    size, place = list_threads(folder, listed), 0
    while place < size:
        if is_thread(listed, place) and thread_at(listed, place) != own:
            c.syscall(SIGNAL_THREAD, process, thread_at(listed, place), URGENT, 0, 0)
            count += 1
        place += length_at(listed, place)
    return count


def list_threads(folder, listed):
    """Read the list of the folder from its start; return its size in bytes."""
    c.syscall(REWIND, folder, 0, 0, 0, 0)
    return c.syscall(GET_FOLDER, folder, listed.address, Buffer.SIZE, 0, 0)


def length_at(listed, place):
    """The bytes of an entry of C's struct dirent64."""
    return listed.letters[place + 16] | listed.letters[place + 17] << 8


def name_at(place):
    """The place of an entry's name."""
    return place + 19


def is_thread(listed, place):
    """Whether an entry is a thread's, and not the folder's own."""
    return listed.letters[name_at(place)] != DOT


def thread_at(listed, place):
    """The number of an entry's thread."""
    return number_at(listed, name_at(place))


def blocks(folder, listed, place):
    """Whether a thread blocks the signal, from SigBlk in its status. One that is gone, or hides it, counts as such."""
    text = c.unset_on_stack(Buffer)
    file = open_status(folder, listed, place)
    size = c.syscall(READ, file, text.address, Buffer.SIZE, 0, 0)
    c.syscall(CLOSE, file, 0, 0, 0, 0)
    for at in range(size - 24):
        if is_mask(text, at):
            return digit_at(text, at + 8 + DIGIT) & BLOCKED != 0
    return True


def open_status(folder, listed, place):
    """Open the status of a thread in the list."""
    path, length = c.on_stack(Path), 0
    while is_digit(listed.letters[name_at(place) + length]):
        path.letters[length] = listed.letters[name_at(place) + length]
        length += 1
    path.memory.copy(path.address + length, c.text("/status"), 8)
    return c.syscall(OPEN_AT, folder, path.address, OPEN_TO_READ | CLOSE_ON_EXEC, 0, 0)


def is_mask(text, at):
    """Whether `SigBlk:` and a tab are here: no other label ends in these letters."""
    letters = text.letters
    return letters[at + 3] == 66 and letters[at + 5] == LAST_LETTER and letters[at + 6] == 58 and letters[at] == 83


def digit_at(text, at):
    """The value of a hexadecimal digit."""
    letter = text.letters[at]
    return letter - 48 if is_digit(letter) else letter - 87
