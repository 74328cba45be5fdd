"""A plan's threads in one Python thread: any of those that need not wait may take the next step."""

from functools import partial

from heapwright.lab.causal import passes
from heapwright.lab.causal.passes import Work
from heapwright.memory import AddressMemory
from heapwright.native.jobs.causal_job import JOIN, LEAVE, PASS, START, TELL, WAIT
from heapwright.traces.events import DEALLOC, THREAD_EXIT


def interpreted_passes():
    """The passes of a plan without a compiler."""
    return [partial(interpreted, getattr(passes, name)) for name in passes.COMPILED]


def interpreted(function, address):
    function(Work(AddressMemory(), address))


class Stuck(Exception):
    """No thread can take a step, and there is still something to do."""


class Machine:
    def __init__(self, made):
        self.made = made
        self.slots, self.live, self.passed = {}, 0, 0
        self.left = made.sections["threads"].tolist()
        self.stops = [
            made.stops[first : first + count].tolist()
            for first, count in zip(made.threads["first_stop"].tolist(), made.threads["stops"].tolist(), strict=True)
        ]
        self.events = [
            made.records[first : first + count]
            for first, count in zip(made.threads["first"].tolist(), made.threads["events"].tolist(), strict=True)
        ]
        self.done = [0] * len(made.threads)
        self.told = [0] * len(made.threads)
        self.stopped = [0] * len(made.threads)
        self.living = {0} if len(made.threads) else set()
        self.joined = set()
        self.most_living = len(self.living)
        self.highest = []  # live bytes after each event, and the sections that were passed then
        self.log = []  # each event's thread and position

    def run(self, choose):
        """Take steps until all is done; `choose` picks one of the threads that can."""
        while ready := [each for each in sorted(self.living) if self.can_step(each)]:
            self.step(choose(ready))
        if any(not self.is_over(each) for each in range(len(self.done))):
            raise Stuck(self.done)

    def is_over(self, thread):
        return self.done[thread] == len(self.events[thread]) and self.stopped[thread] == len(self.stops[thread])

    def next_stop(self, thread):
        """The stop that is due, if any."""
        if self.stopped[thread] < len(self.stops[thread]):
            stop = self.stops[thread][self.stopped[thread]]
            assert stop[0] >= self.done[thread], "a stop was passed by"
            return stop if stop[0] == self.done[thread] else None
        return None

    def can_step(self, thread):
        stop = self.next_stop(thread)
        if stop is None:
            return self.done[thread] < len(self.events[thread])
        _, kind, who, what = stop
        if kind == JOIN:
            return who in self.living and self.is_over(who)
        if kind == START:
            return who == len(self.living | self.joined)
        if kind == PASS:
            return self.passed >= what
        if kind == WAIT:
            return self.told[who] >= what
        return True

    def step(self, thread):
        stop = self.next_stop(thread)
        if stop is None:
            self.do(thread, self.events[thread][self.done[thread]])
            self.log.append((thread, self.done[thread]))
            self.done[thread] += 1
            return
        self.stopped[thread] += 1
        self.obey(thread, *stop[1:])

    def obey(self, thread, kind, who, what):
        if kind == TELL:
            assert what == self.done[thread]
            self.told[thread] = what
        elif kind == LEAVE:
            self.left[what] -= 1
            while self.passed < len(self.left) and self.left[self.passed] == 0:
                self.passed += 1
        elif kind == JOIN:
            self.living.remove(who)
            self.joined.add(who)
        elif kind == START:
            assert who not in self.living | self.joined
            self.living.add(who)
            self.most_living = max(self.most_living, len(self.living))

    def do(self, thread, event):
        """Do one event. A slot holds the size of its block."""
        op, slot, size = int(event["op"]), int(event["slot"].astype("i8")), int(event["size"])
        if op == THREAD_EXIT or slot < 0:
            return
        if op == DEALLOC:
            assert self.slots[slot] == size, "the block is another one"
            self.live -= self.slots.pop(slot)
            return
        self.live += size - self.slots.get(slot, 0)
        self.slots[slot] = size
        self.highest.append((self.live, self.passed))
