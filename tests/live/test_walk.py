"""The walk over a copied heap, interpreted and compiled."""

from __future__ import annotations

import random

import glibc_image
import numpy as np
import pytest

from heapwright.lab.inspect import FastWalker
from heapwright.live.findings import Options
from heapwright.live.glibc import chunks
from heapwright.live.glibc.walk import interpreted
from heapwright.live.look import look_at
from heapwright.native.library import functions_library


def heap_of(sizes, end_size=0):
    """The bytes of chunks of these sizes, one behind the other, and where they start."""
    words = []
    for size in sizes:
        words += [0, size | 1] + [0] * (size // 8 - 2)
    return np.array([*words, 0, end_size | 1], np.uint64).view(np.uint8)


def places_of(walker, data, start=0, room=1000):
    notes = np.zeros(room, np.int64)
    count = walker(data, start, len(data), notes)
    return notes[:count].tolist()


@pytest.fixture(scope="module")
def compiled():
    functions_library(chunks)
    return FastWalker()


STORIES = {
    "one": [32],
    "several": [32, 48, 4096, 64, 1 << 20],
    "fences": [32, 16, 16, 32],
    "random": [16 * random.Random(3).randrange(2, 99) for _ in range(500)],
}


@pytest.mark.parametrize("name", STORIES)
def test_the_walk_notes_each_chunk_and_the_one_that_ends_it(name):
    sizes = STORIES[name]
    starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
    assert places_of(interpreted, heap_of(sizes)) == starts


@pytest.mark.parametrize("end_size", [0, 8, 24, 1 << 40, 7])
def test_a_size_that_leads_nowhere_ends_the_walk(end_size):
    assert places_of(interpreted, heap_of([32, 64], end_size)) == [0, 32, 96]


def test_the_walk_stops_where_there_is_no_room_and_can_go_on():
    data = heap_of([32] * 100)
    first = places_of(interpreted, data, room=10)
    assert first == [32 * index for index in range(10)]
    assert places_of(interpreted, data, start=first[-1] + 32, room=10)[0] == 320


@pytest.mark.parametrize("name", STORIES)
def test_compiled_and_interpreted_agree(name, compiled):
    data = heap_of(STORIES[name])
    assert compiled._compile(0)
    for start in (0, STORIES[name][0]):
        assert places_of(compiled, data, start) == places_of(interpreted, data, start)


# --- pages that are not there


def swapped_image(pages):
    """A heap of 600 chunks of 96 to 240 bytes behind those of the image, of which some pages are swapped out."""
    source = glibc_image.image_of(35)
    start = glibc_image.BREAK + 0x2460  # behind the image's eight chunks
    end, place = glibc_image.BREAK + glibc_image.HEAP_BYTES, start
    for index in range(600):
        size = 96 + 16 * (index % 10)
        source.write(place + 8, "Q", size | 1)
        source.write(place + 16, "Q", 0x6161616161616161)
        place += size
    source.write(place + 8, "Q", end - place | 1)
    source.write(glibc_image.DATA + 0x1C60 + 96, "Q", place)
    source.swapped_out = {glibc_image.BREAK + 0x1000 * page for page in pages}
    heap = source.mappings.named("[heap]")
    heap.resident, heap.swapped = heap.size - 0x1000 * len(pages), 0x1000 * len(pages)
    return source, place


@pytest.mark.parametrize("pages", [(8,), (8, 9, 12), (20,)])
def test_the_walk_goes_on_behind_pages_that_are_swapped_out(pages):
    source, top = swapped_image(pages)
    look = look_at(source)
    main = [chunks for chunks in look.chunks if chunks.arena.is_main]
    assert int(main[-1].run.places[-1]) == top
    assert not [rule for _, rule in look.damage if not rule.startswith("GL6")]
    unread = look.account.parts["unread"]
    assert 0x1000 * (len(pages) - 1) < unread.virtual < 0x1200 * (len(pages) + 1)
    total = look.account.total()
    assert total.resident == sum(mapping.resident for mapping in source.mappings)
    assert total.swapped == 0x1000 * len(pages)
    whole = look_at(swapped_image(())[0])
    seen = sum(arena.chunks for arena in look.arenas)
    assert 0 <= sum(arena.chunks for arena in whole.arenas) - seen <= 43 * len(pages)


def test_swapped_pages_are_read_if_asked():
    source, _ = swapped_image((8, 9))
    look = look_at(source, options=Options(swapped=True))
    assert look.account.parts["unread"].virtual == 0
