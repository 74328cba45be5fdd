"""Huge pages: other segment sizes, a break that the kernel cut into several mappings, and memory locked in part."""

from __future__ import annotations

from pathlib import Path

import glibc_image
import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.look import look_at
from heapwright.live.mappings import Mapping, MappingMap
from heapwright.live.report import report_of

pytestmark = pytest.mark.long

SHAPES = ("holes", "foreign", "walled", "lost", "mapped", "threads", "segments")


@pytest.fixture
def shapes(compiled):
    return compiled("shapes.c", (Path(__file__).parent / "programs" / "shapes.c").read_text(), "-pthread", "-ldl")


@pytest.mark.parametrize("huge", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_look_agrees_with_malloc_on_huge_pages(shape, huge, program, shapes):
    """1: malloc advises transparent huge pages. 2: it asks for reserved ones, and its segments have another size."""
    running = program(shapes, shape, GLIBC_TUNABLES=f"glibc.malloc.hugetlb={huge}")
    look = inspect(running.pid)
    found = report_of(look)
    system, free, _, blocks, mapped = map(int, running.ask("info").split())
    assert not look.damage
    assert sum(arena.system_bytes for arena in look.arenas) == system
    assert abs(sum(arena.free_bytes for arena in look.arenas) - free) <= 16 * len(look.arenas)
    assert (len(look.mapped), sum(chunk.end - chunk.start for chunk in look.mapped)) == (blocks, mapped)
    assert abs(found["parts"]["unexplained"]) <= 0.01 * found["resident_bytes"]
    for column in ("resident", "swapped", "virtual"):
        assert sum(row[column] for row in found["table"].values()) == found[f"{column}_bytes"]
    gained = int(running.ask("trim"))
    assert abs(found["returnable_bytes"] - gained) <= max(0.01 * gained, 32 << 10)


def test_segments_have_the_size_of_four_huge_pages(program, shapes):
    """200 MB in one thread's arena: 2.35 to 2.41 take segments of 8 MB; others always 64."""
    look = inspect(program(shapes, "segments", GLIBC_TUNABLES="glibc.malloc.hugetlb=2").pid)
    segments = max(arena.segments for arena in look.arenas)
    assert segments > 20 if 35 <= look.heaps[0].layout.version <= 41 else segments < 6


def test_an_image_with_segments_of_8_mib():
    """The thread's arena of glibc 2.35 lies at a multiple of 8 MiB and not of 64."""
    look = look_at(glibc_image.image_of(35, segment_at=0x7F0040800000))
    assert [arena.name for arena in look.arenas] == ["main arena", "arena 1"]
    assert not look.damage
    assert not look_at(glibc_image.image_of(43, segment_at=0x7F0040800000)).arenas  # later ones know no other size


def test_a_segment_that_leads_nowhere_is_damage():
    source = glibc_image.image_of(35)
    source.write(glibc_image.SEGMENT + 8, "Q", 0x7F0099000000)  # the segment before
    [(place, rule)] = look_at(source).damage
    assert place == 0x7F0099000000 and rule.startswith("GL6")


LOCKED = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <malloc.h>
static void *kept[20000];
int main(void)
{
    for (int i = 0; i < 20000; i++)
        kept[i] = memset(malloc(1000), 0x2e, 1000);
    for (int i = 3000; i < 12000; i += 3000) /* a library locks the pages that its keys lie on */
        if (mlock(kept[i], 1000) || madvise((char *)((long)kept[i + 1500] & -4096), 8192, MADV_DONTDUMP))
            return 1;
    for (int i = 0; i < 20000; i++)
        if (i % 100 && i % 3000)
            free(kept[i]);
    puts("ready");
    fflush(stdout);
    return getchar();
}
"""


def test_a_heap_that_is_locked_in_part_is_one(program, compiled):
    running = program(compiled("locked.c", LOCKED))
    if running.first != "ready\n":
        pytest.skip("this machine does not let the program lock memory")
    look = inspect(running.pid)
    assert len([mapping for mapping in look.source.mappings if mapping.path == "[heap]"]) > 6
    found = report_of(look)
    assert not look.damage
    assert found["arenas"][0]["segments"] == 1
    assert found["parts"]["unexplained"] == 0
    for column in ("resident", "swapped", "virtual"):
        assert sum(row[column] for row in found["table"].values()) == found[f"{column}_bytes"]


def test_mappings_are_joined_where_they_touch_and_have_one_name():
    parts = [
        Mapping(0x1000, 0x2000, "rw-p", path="[heap]", resident=4096, swapped=0, vm_flags=frozenset({"lo"})),
        Mapping(0x2000, 0x4000, "rw-p", path="[heap]", resident=0, swapped=4096),
        Mapping(0x4000, 0x5000, "rw-p", resident=4096, swapped=0),
        Mapping(0x6000, 0x7000, "rw-p", resident=4096, swapped=0),
        Mapping(0x7000, 0x8000, "r--p", resident=4096, swapped=0),
        Mapping(0x8000, 0x9000, "rw-p", inode=5, path="/a", resident=4096, swapped=0),
        Mapping(0x9000, 0xA000, "rw-p", inode=5, path="/a", resident=4096, swapped=0),
    ]
    mappings = MappingMap(parts)
    assert [(mapping.start, mapping.end) for mapping in mappings.joined] == [
        (0x1000, 0x4000), (0x4000, 0x5000), (0x6000, 0x7000), (0x7000, 0x8000), (0x8000, 0x9000), (0x9000, 0xA000),
    ]  # fmt: skip
    heap = mappings.joined.at(0x3000)
    assert (heap.resident, heap.swapped, heap.is_locked) == (4096, 4096, False)
