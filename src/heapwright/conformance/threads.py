"""A heap of several processes and threads: processes fork; threads take turns, end, and return memory."""

from __future__ import annotations

from itertools import count

from heapwright.conformance.kernel import MACHINE, sound
from heapwright.conformance.registry import check
from heapwright.conformance.stories import ALLOC_LARGE, THREAD, THREAD_EXIT, USUAL, for_all_stories
from heapwright.conformance.story import Play, Step, Wrong, busy_day, demand, with_story
from heapwright.conformance.subject import Subject
from heapwright.conformance.universal import all_intact, blocks_are_disjoint, survey_agrees

OWN_THREADS = ("threads",)


@check("fork", "after fork, parent and child each go on with a copy of the same heap")
def fork(subject: Subject) -> None:
    with with_story(Play(subject.heap())) as play:
        play.play(busy_day(blocks=24))
        child = child_of(play)
        for step in busy_day(blocks=12):
            play.take(step)
            child.take(step)
            demand(play.results[-1] != 0, "there was memory in the parent")
        all_intact(play)
        play.end()
        play.heap.check()
    with with_story(child):
        all_intact(child)
        child.heap.check()
        child.end()
        child.heap.check()


def child_of(play: Play) -> Play:
    """The same story in a forked child."""
    play.lines.append("fork()")
    heap = play.heap.fork()
    if heap is None:
        raise Wrong("there were frames for a child")
    child = play.copy(heap)
    child.lines.append("in the child:")
    return child


@check("threads_take_turns", "threads may free each other's blocks, and end", traits=OWN_THREADS)
def threads_take_turns(subject: Subject) -> None:
    for_all_stories(
        subject, "threads", *USUAL, ALLOC_LARGE, THREAD, THREAD, THREAD_EXIT, each=blocks_are_disjoint, last=sound
    )


@check(
    "threads_give_back",
    "memory that a thread allocated and freed goes back to the kernel, and trim says how much",
    traits=OWN_THREADS,
)
def threads_give_back(subject: Subject) -> str:
    with with_story(Play(subject.heap(**MACHINE))) as play:
        blocks = 12 if subject.is_quick else 700  # these need a second segment of 64 MiB
        play.play([Step("alloc", 0, 40), Step("thread", 1), *[Step("alloc", 0, 100_000)] * blocks])
        play.play([Step("free", 1)] * blocks)
        play.play([Step("alloc", 0, 40), Step("thread", 0)])
        play.heap.check()
        survey_agrees(play)
        play.take(Step("trim"))
        sound(play)
        return f"{play.heap.memory.held():,} bytes held of {play.heap.memory.peak_held():,}"


@check(
    "threads_come_and_go",
    "memory kept by ended threads is reused: many threads need no more memory than a few",
    traits=OWN_THREADS,
)
def threads_come_and_go(subject: Subject) -> str:
    held = []
    with with_story(Play(subject.heap())) as play:
        for number in count(1):
            play.take(Step("thread", 1))
            play.play([Step("alloc", 0, 100), Step("alloc", 0, 3000), Step("free"), Step("free")])
            play.take(Step("thread_exit"))
            held.append(play.heap.memory.held())
            if number == (60 if subject.is_quick else 1000):
                break
        demand(held[-1] <= held[len(held) // 2], f"{len(held)} threads that ended left {held[-1]:,} bytes held")
    return f"{held[-1]:,} bytes held after {len(held)} threads"
