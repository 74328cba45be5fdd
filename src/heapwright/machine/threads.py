"""Simulated threads: functions that take turns in one process, as a scheduler decides.

    threads = Threads(heap)
    threads.main(lambda: heap.dealloc(heap.alloc(40)))      the process's own thread
    threads.spawn(lambda: heap.dealloc(heap.alloc(40)))     another one
    threads.run()

Each thread is a greenlet with its own words, call, errno and access budget. It may be stopped before each visible
operation: an atomic access, a futex call, a kernel call, and an access to one of the `hot` words. Between these it
touches only memory that no other thread touches; anything else is a race, and is reported. So no interleaving is missed
(M. Musuvathi, S. Qadeer, Iterative Context Bounding for Systematic Testing of Multithreaded Programs, 2007).
Memory is sequentially consistent: code without races cannot tell the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import greenlet

from heapwright.layout import Struct
from heapwright.machine.accesses import ANYTHING, Access, access_at_work, expected_at_work
from heapwright.machine.checked import UNLIMITED
from heapwright.machine.fault import Fault, Kind
from heapwright.machine.heap import Heap
from heapwright.machine.names import named
from heapwright.machine.process import Process
from heapwright.machine.races import Clocks, Race, words_of
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.state import Thread

Body = Callable[[], Any]
T = TypeVar("T")
NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
MACHINERY_ABOVE = 4  # frames of the machinery above an access: access_at_work, step, View._step, View._place
BUDGET = 1_000_000  # operations in a whole run: threads may also chase each other for ever


class Task:
    """A running thread: a function, and the point that it has reached."""

    def __init__(self, number: int, thread: Thread, body: Body):
        self.number, self.thread, self.name = number, thread, NAMES[number]
        self.greenlet = greenlet.greenlet(body)
        self.left = UNLIMITED  # the rest of its call's budget, while others run
        self.waits_for = ""  # why it sleeps
        self.is_done = False

    @property
    def is_ready(self) -> bool:
        return not self.waits_for and not self.is_done


@dataclass(slots=True)
class Point:
    """A point in a run at which another thread may take over."""

    number: int  # counts the operations of a run
    running: Task  # the thread that reached this point
    access: Access | None  # its next access; None if it ended, sleeps or spins
    ready: list[Task]  # the threads that may go on; the first does unless the chooser interferes

    @property
    def is_preemption(self) -> bool:
        """Whether it would be a preemption to let any thread but the first go on."""
        return self.access is not None


class Chooser(Protocol):
    """Chooses the thread that goes on."""

    def choose(self, point: Point) -> Task: ...


class Undisturbed:
    """Lets each thread run until it ends, sleeps or spins."""

    def choose(self, point: Point) -> Task:
        return point.ready[0]


class Log(Protocol):
    """An observer of each operation of a run."""

    def add(self, threads: Threads, task: Task, operation: str, access: Access | None) -> None: ...

    def value(self, value: int) -> None: ...


class Threads:
    """The threads of a process or of a heap's process, and their scheduler while they run."""

    def __init__(self, subject: Heap | Process):
        self.heap = subject if isinstance(subject, Heap) else None
        self.process = subject.process if isinstance(subject, Heap) else subject
        self.state: Struct | None = subject.state if isinstance(subject, Heap) else None  # gives names to fields
        self.tasks: list[Task] = []
        self.endings: list[Body] = []  # checks to run when all threads have ended
        self.benign: dict[str, str] = {}  # fields that may race -> the reason
        self.hot: Collection[int] = ()  # words whose accesses are visible
        self.raced: set[int] = set()  # words that raced and may do so
        self.schedule: list[tuple[int, int]] = []  # (point, thread) at which another thread than the first went on
        self.points = 0
        self.clocks = Clocks(0)
        if isinstance(subject, SharedHeap):
            subject.at_fork = self._fork
        self._first = self.process.thread
        self._running: Task | None = None
        self._sleepers: list[tuple[int, Task]] = []  # (address, task), the longest sleeper first
        self._stopper: Task | None = None  # which has stopped all others
        self._chooser: Chooser = Undisturbed()
        self._log: Log | None = None
        self._channels = 0

    # --- before the run

    def main(self, body: Body) -> None:
        """Set the function that the process's own thread runs."""
        self.tasks.append(Task(len(self.tasks), self._first, body))

    def spawn(self, body: Body) -> Thread:
        """Add a thread that runs a function."""
        self.tasks.append(Task(len(self.tasks), self.process.new_thread(), body))
        return self.tasks[-1].thread

    def first(self, body: Body) -> None:
        """Make each thread run a function before the run, one after the other."""
        for task in self.tasks:
            self.have(task.thread, body)

    def have(self, thread: Thread, body: Callable[[], T]) -> T:
        """Make one thread run a function before the run; the thread need not take part in the run."""
        self.process.thread = thread
        try:
            return body()
        finally:
            self.process.thread = self._first

    def channel(self) -> Channel[Any]:
        self._channels += 1
        return Channel(self, -64 * self._channels)

    # --- the run

    def run(self, chooser: Chooser | None = None, hot: Collection[int] = (), log: Log | None = None) -> None:
        """Run all threads to their ends. An exception in one of them ends all."""
        self._chooser, self.hot, self._log = chooser or Undisturbed(), hot, log
        self.clocks = Clocks(len(self.tasks))
        stop_watching = self.process.observe(call=self._called, access=self._valued if log else None)
        self.process.scheduler = self
        try:
            self._run_all()
        finally:
            self._running = None
            self.process.scheduler, self.process.thread = None, self._first
            self.process.memory.left = UNLIMITED
            stop_watching()
            for task in self.tasks:
                task.greenlet.throw()

    def _run_all(self) -> None:
        """Run a thread until it ends, then another, until none is left."""
        last = self.tasks[-1]
        for task in self.tasks:
            task.greenlet.parent = greenlet.getcurrent()
        while not all(task.is_done for task in self.tasks):
            ready = self._ready(last)
            if not ready:
                self._deadlock()
            self._go(self._choose(last, None, ready))
            assert self._running is not None
            last = self._running
            last.is_done = True

    def _go(self, task: Task) -> None:
        memory = self.process.memory
        if self._running is not None:
            self._running.left = memory.left
        self._running, self.process.thread, memory.left = task, task.thread, task.left
        task.greenlet.switch()

    def _ready(self, after: Task) -> list[Task]:
        """The threads that can go on, in turn, starting with the one after `after`."""
        turn = self.tasks[after.number + 1 :] + self.tasks[: after.number + 1]
        return [task for task in turn if task.is_ready and self._stopper in (None, task)]

    # --- after the run

    def judge(self, judged: set[int]) -> None:
        """Run the final checks; skip a heap's check if an equal heap was judged before."""
        for ending in self.endings:
            ending()
        if self.heap is not None:
            state = self._state()
            if state not in judged:
                self.heap.check()
                judged.add(state)

    def _state(self) -> int:
        """A hash of the heap: it very likely differs for heaps that differ."""
        space, live = self.process.space, self.process.blocks.live.values()
        pages = [(number, *map(bytes, space.pages[number][1])) for number in sorted(space.pages)]
        blocks = sorted((block.address, block.size) for block in live)
        words = [tuple(task.thread.words) for task in self.tasks]
        return hash((tuple(pages), tuple(blocks), tuple(words), tuple(space.segments), tuple(space.mappings)))

    # --- points at which threads may switch

    def _choose(self, running: Task, access: Access | None, ready: list[Task]) -> Task:
        self.points += 1
        if self.points > BUDGET:
            raise Fault(Kind.BUDGET, f"{BUDGET} operations do not end these threads", self.process, 0)
        chosen = self._chooser.choose(Point(self.points, running, access, ready))
        if chosen is not ready[0]:
            self.schedule.append((self.points, chosen.number))
        return chosen

    def _pause(self, me: Task, access: Access) -> None:
        """Stop before a visible operation, and let another thread go first if the chooser wants it."""
        others = [task for task in self._ready(me) if task is not me]
        chosen = self._choose(me, access, [me, *others])
        if chosen is not me:
            self._go(chosen)

    def _sleep(self, me: Task, why: str) -> None:
        me.waits_for = why
        ready = self._ready(me)
        if not ready:
            self._deadlock()
        self._go(self._choose(me, None, ready))

    def await_channel(self, takers: deque[Task]) -> None:
        me = self._running
        assert me is not None
        takers.append(me)
        self._sleep(me, "waits for a channel")

    def _deadlock(self) -> NoReturn:
        waiting = [f"{task.name} {task.waits_for}" for task in self.tasks if task.waits_for]
        raise Fault(Kind.DEADLOCK, "nobody can go on: " + "; ".join(waiting), self.process, 0, operation="wait")

    # --- calls from the machine

    def step(self, operation: str, address: int, size: int) -> None:
        me = self._running
        if me is None or size == 0:
            return
        self.points += 1
        access = access_at_work(me.number, operation, address, size, MACHINERY_ABOVE)
        if access.is_atomic or self._is_hot(address, size):
            self._pause(me, access)
        if self._log:
            self._log.add(self, me, access.operation, access)
        self._judge(access)

    def _is_hot(self, address: int, size: int) -> bool:
        if size <= 8:
            return address >> 3 in self.hot
        return any(word in self.hot for word in words_of(address, size))

    def _judge(self, access: Access) -> None:
        """Report a race, unless the allocator declares it harmless."""
        changes = access.changes
        if access.operation == "compare_exchange":
            now = int.from_bytes(self.process.peek(access.address, 8), "little", signed=True)
            changes = now == expected_at_work()
        other = self.clocks.note(access, changes)
        if other is None:
            return
        names = self.name(other), self.name(access)
        if self.benign.keys().isdisjoint(names):
            raise Race(names[1], other, access, tuple(task.name for task in self.tasks))
        self.raced.update(words_of(access.address, access.size))

    def name(self, access: Access) -> str:
        """The field that an access touches, or else its address."""
        state = self.state
        if access.owner is not None:
            return f"{access.owner.__name__}.{access.field}"
        if state is not None and 0 <= access.address - state.address < type(state).SIZE:
            return f"{type(state).__name__}.{named(type(state), access.address - state.address).path}"
        return f"{access.address:#x}" if access.address >= 0 else "channel"

    def visible(self, operation: str, address: int) -> None:
        """Stop before an atomic operation that is not an access to memory."""
        me = self._running
        if me is None:
            return
        access = access_at_work(me.number, operation, address, 8)
        access.is_atomic = True
        self._pause(me, access)
        if self._log:
            self._log.add(self, me, operation, access)
        if operation != "wake":
            self.clocks.note(access, True)

    def wait(self, address: int, value: int) -> None:
        me = self._running
        assert me is not None
        place = access_at_work(me.number, "wait", address, 4).place
        self._sleepers.append((address, me))
        if self._log:
            self._log.add(self, me, f"sleeps while the word at {address:#x} is {value}", None)
        self._sleep(me, f"waits at {place} in {place.function}, while the word at {address:#x} is {value}")

    def wake(self, address: int) -> None:
        self.visible("wake", address)
        for sleeper in self._sleepers:
            if sleeper[0] == address:
                self._sleepers.remove(sleeper)
                sleeper[1].waits_for = ""
                return

    def relax(self) -> None:
        """Let another thread go on while this one spins; if there is none, nothing can change what this one sees."""
        me = self._running
        if me is None:
            return
        others = [task for task in self._ready(me) if task is not me]
        if others:
            self._go(self._choose(me, None, others))

    def stop_others(self) -> None:
        self._stopper = self._running

    def resume_others(self) -> None:
        self._stopper = None

    def halfway(self, call: str) -> None:
        me = self._running
        if me is not None:
            self._pause(me, access_at_work(me.number, call, 0, ANYTHING))

    def _called(self, name: str, arguments: tuple[int, ...], result: int, who: str) -> None:
        """Note a kernel call, whose effects other threads may see."""
        me = self._running
        if me is None:
            return
        self._forget(name, arguments, result)
        access = access_at_work(me.number, name, 0, ANYTHING)
        if self._log:
            given = ", ".join(f"{each:#x}" for each in arguments)
            self._log.add(self, me, f"{name}({given}) = {result:#x}", None)
        self._pause(me, access)

    def _fork(self) -> None:
        """Note that a fork is about to copy all memory."""
        me = self._running
        if me is None:
            return
        self._pause(me, access_at_work(me.number, "fork", 0, ANYTHING))
        if self._log:
            self._log.add(self, me, "fork()", None)
        self.clocks.copy_all(me.number)

    def _forget(self, name: str, arguments: tuple[int, ...], result: int) -> None:
        if name == "mmap" and result != -1:
            self.clocks.forget(result, arguments[0])
        elif name == "sbrk" and result != -1:
            self.clocks.forget(result + min(arguments[0], 0), abs(arguments[0]))
        elif name in ("munmap", "mremap", "decommit"):
            self.clocks.forget(arguments[0], arguments[1])

    def _valued(self, operation: str, address: int, size: int, value: int, who: str) -> None:
        if self._log and self._running:
            self._log.value(value)


class Channel(Generic[T]):
    """Passes values from one thread to another in order; all that the sender did before happens before."""

    def __init__(self, threads: Threads, address: int):
        self._threads, self._address = threads, address
        self._waiting: deque[T] = deque()
        self._takers: deque[Task] = deque()

    def put(self, thing: T) -> None:
        self._threads.visible("put", self._address)
        self._waiting.append(thing)
        if self._takers:
            self._takers.popleft().waits_for = ""

    def get(self) -> T:
        """Take the next value; wait for it if necessary."""
        threads = self._threads
        while True:
            threads.visible("get", self._address)
            if self._waiting:
                return self._waiting.popleft()
            threads.await_channel(self._takers)
