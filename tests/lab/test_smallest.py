"""The smallest heap: it runs, one page less does not, and lower limits that run are found where success is uneven."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.lab import smallest as module
from heapwright.lab.contestant import Contestant
from heapwright.lab.held import Outcome, attempt, hold_job
from heapwright.lab.machine_facts import installed_peers
from heapwright.lab.naming import contestant
from heapwright.lab.smallest import BELOW, Search, below, held_before, smallest
from heapwright.native.heap import NativeHeap
from heapwright.native.runtime.linux import PAGE
from heapwright.traces.events import ALLOC, DEALLOC, Events
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import random_live_set

STORY = flatten(random_live_set(live=100, rounds=400, smallest=16, largest=3000))


def silent(line):
    pass


# --- the search


@given(
    bound=st.integers(0, 300),
    islands=st.sets(st.integers(0, 600)),
    top=st.integers(0, 600),
)
def test_the_limit_that_is_found_runs_and_none_that_was_tried_below_it(bound, islands, top):
    """Whatever limits succeed, as long as all above some limit do and none below the bound does."""

    def runs(pages):
        return pages >= bound and (pages in islands or pages >= bound + top)

    search = Search(None, None, Contestant("x", None), silent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "attempt", lambda path, job, malloc, limit: Outcome(0, not runs(limit // PAGE)))
        found = search.lowest(bound)
    assert runs(found)
    assert found == 0 or not search.outcomes[found - 1].succeeded
    assert not any(search.outcomes[each].succeeded for each in search.outcomes if each < found)
    if found - bound <= BELOW:
        assert {*range(bound, found)} <= {*search.outcomes}, "then it is the smallest of all"


@given(bound=st.integers(0, 10_000), more=st.integers(0, 10_000))
def test_at_most_100_limits_are_tried_below(bound, more):
    tried = below(bound, bound + more)
    assert len(tried) == min(more, BELOW)
    assert tried == sorted(set(tried))
    assert all(bound <= each < bound + more for each in tried)
    if more:
        assert tried[-1] == bound + more - 1, "one page less is among them"


# --- with mallocs


@pytest.mark.parametrize("name", ["kr", "dlmalloc"])
def test_the_limit_of_the_kernel_is_that_of_our_own_heaps(name):
    """A compiled heap that counts its own bytes succeeds and fails at the same limits, at the same event."""
    found = smallest(STORY, contestant(name), silent)
    assert not found.error
    assert found.before == 0
    assert events_within(name, found.pages * PAGE) == len(STORY)
    assert events_within(name, (found.pages - 1) * PAGE) == found.fails.done
    assert found.fails.refused


def events_within(name, limit):
    """How many events of the story a heap serves that holds at most `limit` bytes."""
    heap, blocks = NativeHeap(name), {}
    heap.limit(limit)
    try:
        for done, event in enumerate(STORY.records):
            slot, size = int(event["slot"]), int(event["size"])
            if event["op"] == DEALLOC:
                heap.dealloc(blocks.pop(slot), size, 16)
            else:
                blocks[slot] = heap.alloc(size, 16)
                if blocks[slot] == 0:
                    return done
        return len(STORY)
    finally:
        heap.limit(0)
        heap.close()


def test_the_c_library_runs_at_the_limit_and_fails_one_page_below():
    system = contestant("system")
    found = smallest(STORY, system, silent)
    with hold_job(STORY) as (path, job):
        assert attempt(path, job, system, found.pages * PAGE) == Outcome(len(STORY))
        assert attempt(path, job, system, (found.pages - 1) * PAGE) == found.fails
    assert found.fails.refused
    assert found.bytes_at(found.pages) >= STORY.live.max()


@pytest.mark.parametrize("peer", ["jemalloc", "mimalloc", "tcmalloc"])
def test_the_kernels_limit_binds_a_peer(peer):
    """96 MiB of blocks: a peer is refused before it has given out what the limit allows, and served with a larger one.

    So its memory is private and writable, as that of every other malloc, and no other kind of limit is needed.
    """
    if peer not in installed_peers():
        pytest.skip(f"{peer} is not installed")
    block, blocks, limit = 64 << 10, 1536, 48 << 20
    flat = flatten(
        Events.of(op=[ALLOC] * blocks, thread=[0] * blocks, block=list(range(blocks)), size=[block] * blocks)
    )
    malloc = contestant(peer)
    before = held_before(flat, malloc)
    with hold_job(flat) as (path, job):
        bound, free = (attempt(path, job, malloc, each) for each in (limit, 3 * limit))
    assert free.succeeded
    assert bound.refused and not bound.crash
    assert bound.done * block <= limit + before


def test_a_malloc_that_fails_with_more_memory_is_found_out(tmp_path):
    """It wastes 30 pages whenever it gets them, and needs 20: it runs in 20 to 29 pages, and from 50 on."""
    if subprocess.run(["which", "cc"], capture_output=True, check=False).returncode:
        pytest.skip("there is no C compiler (Debian: apt-get install gcc)")
    found = smallest(flatten(twenty()), wasteful(tmp_path), silent)
    assert not found.error
    assert (found.pages, found.safe) == (20, 50)
    assert found.below == list(range(1, 20))
    assert found.above == list(range(30, 50))
    assert found.fails == Outcome(19, refused=True)


def twenty():
    return Events.of(op=[ALLOC] * 20, thread=[0] * 20, block=list(range(20)), size=[100] * 20)


def wasteful(folder):
    source, library = folder / "wasteful.c", folder / "wasteful.so"
    source.write_text(WASTEFUL)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return Contestant("wasteful", library)


WASTEFUL = """
#include <stddef.h>
#include <sys/mman.h>
static void *pages(size_t n) {
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}
void *malloc(size_t n) {
  static int wasted;
  if (n == 100 && !wasted++) pages(30 * 4096);
  return pages(n);
}
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) { return malloc(n); }
void free(void *p) {}
"""


def test_a_malloc_that_crashes_is_said_to_crash(tmp_path):
    source, library = tmp_path / "crash.c", tmp_path / "crash.so"
    source.write_text("""
#include <stdlib.h>
extern void *__libc_malloc(size_t);
void *malloc(size_t n) { void *p = __libc_malloc(n); if (!p) abort(); return p; }
void free(void *p) {}
""")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    found = smallest(STORY, Contestant("crash", library), silent)
    assert found.fails.crash == "ended by SIGABRT"


def test_what_fails_without_a_limit_is_not_measured():
    wild = flatten(Events.of(op=[ALLOC, ALLOC], thread=[0] * 2, block=[0, 1], size=[100, 1 << 46]))
    assert smallest(wild, contestant("system"), silent).error == "fails at event 2 even without a limit"
