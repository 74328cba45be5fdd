"""Threads on one heap, in every order: small scenarios whose interleavings are tried one by one in the machine.

    explored = try_scenario(allocator.load("hoard"), "handed_over", 8192)
    explored.demand()                       raises the first interleaving that goes wrong, as a table
    print(explored)                         1,200 schedules of up to 40 visible operations, all with up to 2 preemptions

Wrong is an access that the machine refuses, an invariant that does not hold at the end, content that changed, a
deadlock, and a data race, unless the allocator declares it: its `RACES` names fields, each with a colon and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import pairwise
from typing import Any

from heapwright.allocator import Allocator
from heapwright.conformance.story import ends
from heapwright.machine.accesses import access_at_work
from heapwright.machine.explore import Explored, explore, sleepy_locks, wander
from heapwright.machine.heap import Heap
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.threads import Threads

Scenario = Callable[[Threads, SharedHeap, int], None]
SMALL = 40
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


# --- what a thread does with a block


def take(heap: SharedHeap, size: int, seed: int) -> int:
    """Allocate a block and write into both ends of it."""
    address = heap.alloc(size)
    assert address, f"there was memory for {size} bytes"
    for offset, length in ends(size):
        heap.user.fill(address + offset, length, seed)
    return address


def give(heap: SharedHeap, address: int, seed: int) -> None:
    """Free a block that has what `take` wrote."""
    verify(heap, address, heap.live[address].size, seed)
    heap.dealloc(address)


def verify(heap: SharedHeap, address: int, size: int, seed: int) -> None:
    for offset, length in ends(size):
        found = heap.process.peek(address + offset, length)
        assert found == bytes([seed]) * length, f"the owner of {address:#x} wrote {seed:#x}, and finds {found.hex()}"


def give_all(heap: SharedHeap, addresses: list[int]) -> None:
    for address in addresses:
        give(heap, address, 1)


def use(heap: SharedHeap, size: int, seed: int) -> None:
    give(heap, take(heap, size, seed), seed)


# --- the scenarios


@scenario
def apart(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Both allocate a block and free it; nothing was allocated before."""
    threads.main(lambda: use(heap, size, 1))
    threads.spawn(lambda: use(heap, size, 2))


@scenario
def handed_over(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One allocates, the other frees that, and both allocate once more."""
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
    """Both free every other one of blocks that were allocated in a row."""
    blocks = [take(heap, size, seed) for seed in range(4)]

    def free_from(first: int) -> None:
        for seed in (first, first + 2):
            give(heap, blocks[seed], seed)

    threads.main(lambda: free_from(0))
    threads.spawn(lambda: free_from(1))
    threads.first(lambda: use(heap, size, 0))


@scenario
def uneven(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One frees a block while the other frees a small one behind it, and takes it back."""
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
    """A thread ends while the other frees what it had allocated."""
    channel = threads.channel()

    def heir() -> None:
        give(heap, channel.get(), 1)
        use(heap, size, 3)

    def mortal() -> None:
        block = take(heap, size, 2)
        channel.put(take(heap, size, 1))
        give(heap, block, 2)
        heap.thread_exit()

    threads.main(heir)
    threads.spawn(mortal)
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
    """The allocator's own invariants. What other threads were about to be given is lost to a child."""
    for start, end in heap.stretches():
        heap.allocator.check(heap.state, start, end)


@scenario
def growing(threads: Threads, heap: SharedHeap, size: int) -> None:
    """One resizes a block while the other frees the block behind it, and then takes one."""
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
    """One gives free memory back to the kernel while the other allocates."""
    use(heap, size, 1)
    threads.main(heap.trim)
    threads.spawn(lambda: use(heap, size, 2))


@scenario
def trading(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Two caches at their edges: one has run out, the other is full of blocks of the first thread."""
    takes, gives = edges_of_caches(heap.allocator, size)
    blocks = [take(heap, size, 1) for _ in range(takes)]
    threads.main(lambda: use(heap, size, 2))
    other = threads.spawn(lambda: give_all(heap, blocks[gives:][:OVER]))
    threads.have(other, lambda: give_all(heap, blocks[:gives]))


@scenario
def flowing_over(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Two caches at their edges: both are full of blocks of a third thread, and get more of them."""
    _, gives = edges_of_caches(heap.allocator, size)
    third = heap.process.new_thread()
    blocks = threads.have(third, lambda: [take(heap, size, 1) for _ in range(2 * (gives + OVER))])
    mine, others = blocks[::2], blocks[1::2]
    threads.main(lambda: give_all(heap, mine[gives:]))
    other = threads.spawn(lambda: give_all(heap, others[gives:]))
    give_all(heap, mine[:gives])
    threads.have(other, lambda: give_all(heap, others[:gives]))


@scenario
def crowd(threads: Threads, heap: SharedHeap, size: int) -> None:
    """Three threads: one hands a block round, all allocate; for random schedules."""
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


# --- the edges of a thread's cache

OVER = 2  # blocks freed at a full cache
REHEARSED = 140  # blocks: more than most caches hold
FEW = 24  # where no edge is found


@cache
def edges_of_caches(allocator: Allocator, size: int) -> tuple[int, int]:
    """How many blocks a thread takes, and another frees of them, before the next call must lock as the last did not."""
    takes = last_edge(locks_of_taking(SharedHeap.start(allocator, **ROOMY), size, REHEARSED))
    heap = SharedHeap.start(allocator, **ROOMY)
    locks_of_taking(heap, size, takes)
    heap.process.thread = heap.process.new_thread()
    return takes, last_edge([takes_a_lock(heap, partial(heap.dealloc, address)) for address in list(heap.live)])


def locks_of_taking(heap: SharedHeap, size: int, blocks: int) -> list[bool]:
    heap.process.threads_ever = 2  # or locks are taken as a lone thread may
    return [takes_a_lock(heap, lambda: heap.alloc(size)) for _ in range(blocks)]


def takes_a_lock(heap: SharedHeap, call: Callable[[], object]) -> bool:
    """Whether a call has an operation that is atomic and changes something."""
    found = []

    def note(operation: str, address: int, size: int, value: int, who: str) -> None:
        access = access_at_work(0, operation, address, size, depth=2)
        found.append(access.is_atomic and access.changes)

    stop = heap.process.observe(access=note)
    call()
    stop()
    return any(found)


def last_edge(locked: list[bool]) -> int:
    """How many calls there are before the last one that locks after one that does not."""
    return max((n for n, (before, now) in enumerate(pairwise(locked), 1) if now and not before), default=FEW)


# --- trying them

PAGE = 1 << 16
MACHINE: Mapping[str, Any] = {"frames": 1 << 12}
ROOMY: Mapping[str, Any] = {"frames": 1 << 12, "page": PAGE, "maxva": (1 << 32) + 2 * PAGE}  # first mapping at 64 MiB


def make_threads(allocator: Allocator, name: str, size: int, machine: Mapping[str, Any] = MACHINE) -> Threads:
    """The threads of a scenario on a new heap, ready to run."""
    heap = SharedHeap.start(allocator, **machine)
    threads = Threads(heap)
    threads.benign = declared_races(allocator)
    SCENARIOS[name](threads, heap, size)
    return threads


def declared_races(allocator: Allocator) -> dict[str, str]:
    """The fields that an allocator lets race, and why it can bear that."""
    said = [sentence for part in allocator.parts for sentence in getattr(part, "RACES", ())]
    return {name.strip(): reason.strip() for name, _, reason in (each.partition(":") for each in said)}


def try_scenario(
    allocator: Allocator,
    name: str,
    size: int,
    preemptions: int = 2,
    machine: Mapping[str, Any] = MACHINE,
    **options: Any,
) -> Explored:
    """Explore the schedules of one scenario; the options are those of `Exploration`."""
    with sleepy_locks():
        return explore(lambda: make_threads(allocator, name, size, machine), preemptions, **options)


def wander_through(
    allocator: Allocator, name: str, size: int, runs: int, seed: int = 0, machine: Mapping[str, Any] = MACHINE
) -> Explored:
    """Try random schedules of one scenario."""
    with sleepy_locks():
        return wander(lambda: make_threads(allocator, name, size, machine), runs, seed)
