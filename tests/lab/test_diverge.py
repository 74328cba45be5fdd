"""The first request that two mallocs serve at different places, and what lies around it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from heapwright.lab.contestant import Contestant
from heapwright.lab.diverge import diverge
from heapwright.lab.naming import contestants
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Events
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import random_live_set

BUMP = """
#include <stddef.h>
#include <string.h>
static char pool[1 << 20] __attribute__((aligned(4096)));
static size_t top;
void *malloc(size_t n) {
  if (n == 777 && NULL_AT_777) return NULL;
  char *p = pool + top;
  top += (n + 15) / 16 * 16 + (n > 400 ? PAD : 0);
  return p;
}
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) { void *q = malloc(n); if (p && q) memcpy(q, p, n); return q; }
void free(void *p) {}
"""


@pytest.fixture
def bump(tmp_path):
    """Compile a malloc that never reuses memory: `bump(pad=64)` leaves a gap behind blocks of more than 400 bytes."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler (Debian: apt-get install gcc)")

    def make(name, pad=0, refuses=0):
        source, library = tmp_path / f"{name}.c", tmp_path / f"{name}.so"
        source.write_text(BUMP)
        flags = [f"-DPAD={pad}", f"-DNULL_AT_777={refuses}"]
        subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", library, source], check=True)
        return Contestant(name, library)

    return make


def silent(line):
    pass


def story(*sizes):
    """Blocks of these sizes; the second one is freed before the last is allocated, and the first one has grown."""
    last = len(sizes) - 1
    op = [*[ALLOC] * last, REALLOC, DEALLOC, ALLOC]
    block = [*range(last), 0, 1, last]
    return flatten(Events.of(op=op, thread=[0] * len(op), block=block, size=[*sizes[:-1], 48, 0, sizes[-1]]))


def test_the_first_difference_is_found_with_its_neighbours(bump):
    flat = story(32, 100, 500, 64, 32)
    found = diverge(flat, (bump("tight"), bump("padded", pad=64)), silent)
    assert (found.event, found.requests, found.different) == (3, 6, 3)
    tight, padded = found.sides
    assert (tight.allocator, padded.allocator) == ("tight", "padded")
    assert padded.relative == tight.relative + 64 == 32 + 112 + 512 + 64
    assert [(each.event, each.relative, each.size) for each in tight.neighbours] == [
        (0, 0, 32),
        (1, 32, 100),
        (2, 144, 500),
    ]


def test_blocks_that_are_dead_are_no_neighbours_and_grown_ones_are_where_they_went(bump):
    flat = story(32, 100, 64, 777)
    found = diverge(flat, (bump("serves"), bump("refuses", refuses=1)), silent)
    serves, refuses = found.sides
    assert found.event == len(flat) - 1
    assert refuses.relative is None
    assert [(each.event, each.relative, each.size) for each in serves.neighbours] == [(2, 144, 64), (3, 208, 48)]


def test_a_malloc_does_not_differ_from_itself(bump):
    flat = flatten(random_live_set(live=50, rounds=300, smallest=16, largest=900))
    for pair in ((bump("one"), bump("two")), contestants(["system", "same=system"])):
        found = diverge(flat, tuple(pair), silent)
        assert (found.event, found.different, found.sides) == (None, 0, ())


def test_a_block_in_a_mapping_is_elsewhere():
    """The C library maps a block as large as its threshold; with a lower one it maps this one."""
    flat = story(1000, 1000, 200_000, 2000)
    pair = tuple(contestants(["system", "system{MALLOC_MMAP_THRESHOLD_=1000000}"]))
    found = diverge(flat, pair, silent)
    assert found.event == 2
    assert [each.is_mapped for each in found.sides] == [True, False]
