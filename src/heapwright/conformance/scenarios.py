"""Scenarios for two or three threads on one heap, which `interleavings` tries in every order.

A scenario is a function that gives each thread its work, for a heap and a size. Its name is the function's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heapwright.conformance.cache_edges import edges_of_caches
from heapwright.conformance.story import ends
from heapwright.machine.heap import Heap
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.threads import Threads

Scenario = Callable[[Threads, SharedHeap, int], None]
SMALL = 40
OVER = 2  # blocks freed at a full cache
MACHINE: Mapping[str, Any] = {"frames": 1 << 12}
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


# --- a thread's work with a block


def take(heap: SharedHeap, size: int, seed: int) -> int:
    """Allocate a block and write into both ends of it."""
    address = heap.alloc(size)
    assert address, f"there was memory for {size} bytes"
    for offset, length in ends(size):
        heap.user.fill(address + offset, length, seed)
    return address


def give(heap: SharedHeap, address: int, seed: int) -> None:
    """Check that a block holds what `take` wrote, and free it."""
    verify(heap, address, heap.live[address].size, seed)
    heap.dealloc(address)


def verify(heap: SharedHeap, address: int, size: int, seed: int) -> None:
    for offset, length in ends(size):
        found = heap.process.peek(address + offset, length)
        assert found == bytes([seed]) * length, f"the owner of {address:#x} wrote {seed:#x}, but finds {found.hex()}"


def give_all(heap: SharedHeap, addresses: list[int]) -> None:
    for address in addresses:
        give(heap, address, 1)


def use(heap: SharedHeap, size: int, seed: int) -> None:
    give(heap, take(heap, size, seed), seed)


# --- the scenarios


@scenario
def apart(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Both threads allocate a block and free it, on a fresh heap."""
    threads.main(lambda: use(heap, size, 1))
    threads.spawn(lambda: use(heap, size, 2))


@scenario
def handed_over(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One allocates a block, the other frees it, and both allocate once more."""
    channel = threads.channel()

    def producer() -> None:
        channel.put(take(heap, size, 1))
        use(heap, size, 2)

    def consumer() -> None:
        give(heap, channel.get(), 1)
        use(heap, size, 3)

    threads.main(producer)
    threads.spawn(consumer)
    threads.first(lambda: use(heap, size, 0))


@scenario
def neighbours(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Of blocks that were allocated in a row, each thread frees every second one."""
    blocks = [take(heap, size, seed) for seed in range(4)]

    def free_from(first: int) -> None:
        for seed in (first, first + 2):
            give(heap, blocks[seed], seed)

    threads.main(lambda: free_from(0))
    threads.spawn(lambda: free_from(1))
    threads.first(lambda: use(heap, size, 0))


@scenario
def uneven(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One frees a block while the other frees the small block behind it and allocates it again."""
    block, small = take(heap, size, 1), take(heap, SMALL, 2)
    take(heap, size, 3)

    def free_small() -> None:
        give(heap, small, 2)
        use(heap, SMALL, 4)

    threads.main(lambda: give(heap, block, 1))
    threads.spawn(free_small)
    threads.first(lambda: use(heap, SMALL, 0))


@scenario
def free_after_exit(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One thread ends while the other frees the blocks that it had allocated."""
    channel = threads.channel()

    def successor() -> None:
        give(heap, channel.get(), 1)
        use(heap, size, 3)

    def freed() -> None:
        block = take(heap, size, 2)
        channel.put(take(heap, size, 1))
        give(heap, block, 2)
        heap.thread_exit()

    threads.main(successor)
    threads.spawn(freed)
    threads.first(lambda: use(heap, size, 0))


@scenario
def fork_beside(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One forks while the other allocates and frees; the child goes on alone."""

    def parent() -> None:
        child = heap.fork()
        assert child, "there were frames for a child"
        child.dealloc(child.alloc(size))
        check_alone(child)

    threads.main(parent)
    threads.spawn(lambda: use(heap, size, 2))
    threads.first(lambda: use(heap, size, 0))


def check_alone(heap: Heap) -> None:
    """Check the allocator's own invariants only: blocks that other threads were allocating are lost in a child."""
    for start, end in heap.extents():
        heap.allocator.check(heap.state, start, end)


@scenario
def growing(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One resizes a block while the other frees the block behind it and allocates one."""
    grown, behind = take(heap, size, 1), take(heap, size, 2)
    take(heap, size, 3)

    def grow() -> None:
        verify_prefix(heap, heap.realloc(grown, 2 * size))

    def free() -> None:
        give(heap, behind, 2)
        take(heap, size, 4)

    threads.main(grow)
    threads.spawn(free)
    threads.first(lambda: use(heap, size, 0))


def verify_prefix(heap: SharedHeap, address: int) -> None:
    assert address, "there was memory for the larger block"
    verify(heap, address, SMALL, 1)


@scenario
def trimming(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One returns free memory to the kernel while the other allocates."""
    use(heap, size, 1)
    threads.main(heap.trim)
    threads.spawn(lambda: use(heap, size, 2))


@scenario
def trading(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Two caches at their edges: one is empty, the other is full of blocks of the first thread."""
    takes, gives = edges_of_caches(heap.allocator, size)
    blocks = [take(heap, size, 1) for _ in range(takes)]
    threads.main(lambda: use(heap, size, 2))
    other = threads.spawn(lambda: give_all(heap, blocks[gives:][:OVER]))
    threads.have(other, lambda: give_all(heap, blocks[:gives]))


@scenario
def flowing_over(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Two caches at their edges: both are full of blocks of a third thread and get more of them."""
    _, gives = edges_of_caches(heap.allocator, size)
    third = heap.process.new_thread()
    blocks = threads.have(third, lambda: [take(heap, size, 1) for _ in range(2 * (gives + OVER))])
    mine, others = blocks[::2], blocks[1::2]
    threads.main(lambda: give_all(heap, mine[gives:]))
    other = threads.spawn(lambda: give_all(heap, others[gives:]))
    give_all(heap, mine[:gives])
    threads.have(other, lambda: give_all(heap, others[:gives]))


@scenario
def crossing(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Two caches at their edges: each is full of blocks of the other thread and of a third, and gets more."""
    _, gives = edges_of_caches(heap.allocator, size)
    half = (gives + OVER + 1) // 2

    def take_half() -> list[int]:
        return [take(heap, size, 1) for _ in range(half)]

    third = heap.process.new_thread()
    threads.main(lambda: give_all(heap, mine[gives:]))
    other = threads.spawn(lambda: give_all(heap, others[gives:]))
    others = woven(take_half(), threads.have(third, take_half))
    mine = woven(threads.have(other, take_half), threads.have(third, take_half))
    give_all(heap, mine[:gives])
    threads.have(other, lambda: give_all(heap, others[:gives]))


def woven(some: list[int], more: list[int]) -> list[int]:
    """Two lists of the same length, interleaved."""
    return [address for pair in zip(some, more, strict=True) for address in pair]


@scenario
def crowd(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Three threads pass a block around, and all allocate; for random schedules."""
    to_two, to_three = threads.channel(), threads.channel()

    def first() -> None:
        to_two.put(take(heap, size, 1))
        use(heap, size, 2)

    def second() -> None:
        block = take(heap, size, 3)
        to_three.put(to_two.get())
        give(heap, block, 3)
        heap.thread_exit()

    def third() -> None:
        block = take(heap, size, 4)
        give(heap, to_three.get(), 1)
        give(heap, block, 4)

    threads.main(first)
    threads.spawn(second)
    threads.spawn(third)
    threads.first(lambda: use(heap, size, 0))


PAIRS = [name for name in SCENARIOS if name != "crowd"]
