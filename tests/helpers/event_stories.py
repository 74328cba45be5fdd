"""Valid events of any kind, for Hypothesis: `stories()`."""

from hypothesis import strategies as st

from heapwright.traces.events import (
    ALLOC,
    ALLOC_ZEROED,
    DEALLOC,
    FAILED,
    INHERITED,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
)

SIZES = st.integers(0, 200) | st.integers(0, 1 << 40)
COUNTS = st.sampled_from([1, 1, 1, 0, 2, 7, 1 << 20])
DELAYS = st.sampled_from([0, 0, 1, 300, 1 << 33])
ABSURD = st.integers(1, (1 << 64) - 1)


class Story:
    """Rows of events that keep the invariants."""

    def __init__(self, draw):
        self.draw = draw
        self.live, self.blocks, self.rows = [], 0, []
        self.time = 0

    def add(self, op, block=NONE, size=0, log2_align=0, flags=0):
        row = {"op": op, "block": block, "log2_align": log2_align, "flags": flags}
        count = self.draw(COUNTS) if op == ALLOC_ZEROED and not flags & FAILED else 1
        self.time += self.draw(DELAYS)
        row |= {"time": self.time, "site": self.draw(st.sampled_from([0, 0, 1, 70000]))}
        self.rows.append(row | {"size": size * count, "count": count, "thread": self.draw(st.integers(0, 3))})

    def start(self, op, flags=0):
        log2_align = self.draw(st.sampled_from([0, 0, 4, 12])) if op == ALLOC else 0
        self.live.append(self.blocks)
        self.add(op, self.blocks, self.draw(SIZES), log2_align, flags)
        self.blocks += 1

    def step(self):
        actions = [self.allocate, self.fail, self.free_null, self.exit]
        if self.live:
            actions += [self.free, self.free, self.reallocate, self.fail_to_reallocate]
        self.draw(st.sampled_from(actions))()

    def allocate(self):
        self.start(self.draw(st.sampled_from([ALLOC, ALLOC, ALLOC_ZEROED, REALLOC])))

    def fail(self):
        self.add(self.draw(st.sampled_from([ALLOC, ALLOC_ZEROED, REALLOC])), NONE, self.draw(ABSURD), 0, FAILED)

    def free_null(self):
        self.add(DEALLOC)

    def exit(self):
        self.add(THREAD_EXIT)

    def free(self):
        self.add(DEALLOC, self.live.pop(self.draw(st.integers(0, len(self.live) - 1))))

    def reallocate(self):
        self.add(REALLOC, self.draw(st.sampled_from(self.live)), self.draw(SIZES))

    def fail_to_reallocate(self):
        self.add(REALLOC, self.draw(st.sampled_from(self.live)), self.draw(ABSURD), 0, FAILED)


@st.composite
def stories(draw):
    story = Story(draw)
    for _ in range(draw(st.integers(0, 2))):
        story.start(ALLOC, INHERITED)
    for _ in range(draw(st.integers(0, 40))):
        story.step()
    columns = "op", "flags", "log2_align", "thread", "block", "size", "count", "time", "site"
    return Events.of(**{name: [row[name] for row in story.rows] for name in columns})
