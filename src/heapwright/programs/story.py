"""The requests of a story that `heapwright check --save` wrote, as one call each.

    def main(_):
        a = alloc(24, 16)
        free(a)
        end()

`heapwright simulate STORY.py -a ALLOCATOR --step` shows the effect of each request.
"""

from __future__ import annotations

from typing import NoReturn
from weakref import WeakKeyDictionary

from heapwright.collections import OutOfMemory, Runtime, running
from heapwright.machine.frames import Failures
from heapwright.machine.state import Thread
from heapwright.programs.user import exit, println

OWNER = "block"
FILLED = 0x5A  # the byte that a block's owner writes into it

_threads: WeakKeyDictionary[Runtime, list[Thread]] = WeakKeyDictionary()

# --- the program's requests


def alloc(size: int, align: int = 16) -> int:
    """Allocate a block and write all of it; return its address, or 0 if there is no memory."""
    return given(running().heap.alloc(size, align), size, align, "alloc")


def alloc_zeroed(size: int, align: int = 16) -> int:
    return given(running().heap.alloc_zeroed(size, align), size, align, "alloc_zeroed")


def given(address: int, size: int, align: int, name: str) -> int:
    runtime = running()
    try:
        runtime.own(address, size, align, OWNER, name)
    except OutOfMemory:
        return 0
    runtime.heap.user.fill(address, size, FILLED)
    return address


def realloc(address: int, size: int) -> int:
    """Resize a block; return its new address, or the old one if there is no memory."""
    runtime = running()
    try:
        address = runtime.realloc(address, size)
    except OutOfMemory:
        return address
    runtime.heap.user.fill(address, size, FILLED)
    return address


def free(address: int) -> None:
    running().dealloc(address)


def usable_size(address: int) -> int:
    size = running().heap.usable_size(address)
    running().heap.user.fill(address, size, FILLED)
    println(f"usable_size({address:#x}) -> {size:,}")
    return size


def trim() -> None:
    println(f"trim() -> {running().heap.trim():,}")


def sbrk(size: int) -> None:
    """Move the break as the program, and use the memory."""
    start = running().memory.sbrk(size)
    if start != -1 and size > 0:
        running().memory.fill(start, size, FILLED)


# --- its threads


def thread(number: int) -> None:
    """Switch to another thread, which starts if it is new; the first is 1."""
    process = running().heap.process
    known = _threads.setdefault(running(), [process.thread])
    while len(known) < number:
        known.append(process.new_thread())
    process.thread = known[number - 1]


def thread_exit() -> None:
    """End the running thread; the next thread with its number is a new one."""
    process = running().heap.process
    known = _threads.setdefault(running(), [process.thread])
    running().heap.thread_exit()
    _threads[running()] = [process.new_thread() if each is process.thread else each for each in known]


# --- the kernel's behaviour


def refuse_memory(number: int, once: bool = False) -> None:
    """Refuse the request for memory with this number, counted from now on, and all that follow unless `once`."""
    running().heap.process.kernel.calls.at(number, once)


def refuse_returns(number: int, once: bool = False) -> None:
    """Refuse the call that returns memory with this number, and all that follow unless `once`."""
    running().heap.process.kernel.returns.at(number, once)


def stop_break(number: int) -> None:
    """Stop the break from this rise on; the kernel still gives mappings."""
    running().heap.process.kernel.breaks.at(number)


def move_break(number: int, once: bool = False) -> None:
    """Move the break as somebody else before this rise by the allocator, and before all that follow unless `once`."""
    running().heap.process.kernel.intrusions.at(number, once)


def no_more_frames(spare: int = 0) -> None:
    """Limit the machine to the frames in use, and a few spare ones."""
    frames = running().heap.process.kernel.frames
    frames.budget = frames.taken + frames.reserved + spare


def relent() -> None:
    """Let the kernel grant all requests again, and take memory back."""
    kernel = running().heap.process.kernel
    failures: tuple[Failures, ...] = kernel.calls, kernel.returns
    for each in failures:
        each.never()


def end() -> NoReturn:
    """Check the heap and exit; blocks that are live now are not leaks."""
    running().heap.check()
    exit(0)
