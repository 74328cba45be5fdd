"""The memory of foreign programs as allocators see it: no store ever, and the stores of a rehearsal stay in it."""

from __future__ import annotations

import glibc_image
import pytest

from heapwright.live.memory import Image, Misuse, ReadOnly
from heapwright.live.rehearsal import Rehearsal
from heapwright.memory import Memory

PLACE = 0x7F2000000000
NAMES = [name for name in vars(Memory) if not name.startswith("_")] + ["PAGE", "MAX_SBRK"]


@pytest.fixture
def image():
    source = glibc_image.FakeSource()
    source.map(PLACE, 0x10000)
    source.map(0x555555600000, 0x21000, "[heap]")
    source.write(PLACE + 8, "Q", 77)
    made = Image(source)
    made.section = (0x555555600000, 0x555555600000, 0x555555620800)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_all_that_allocators_may_ask(name, image):
    assert hasattr(image, name) and hasattr(Rehearsal(image), name)


@pytest.mark.parametrize(
    "store",
    [
        lambda memory: memory.store(PLACE, 8, 1),
        lambda memory: memory.fill(PLACE, 8, 1),
        lambda memory: memory.exchange(PLACE, 1),
        lambda memory: memory.sbrk(-4096),
        lambda memory: memory.decommit(PLACE, 4096),
        lambda memory: memory.munmap(PLACE, 4096),
        lambda memory: memory.set_local(0, 1),
        lambda memory: memory.call(PLACE, 1, 2),
        lambda memory: memory.call_with(PLACE, 1, 2, 3, 4),
    ],
)
def test_an_image_is_only_read(store, image):
    with pytest.raises(ReadOnly):
        store(image)


def test_a_rehearsal_reads_back_what_it_stored_and_nobody_else_does(image):
    memory = Rehearsal(image)
    memory.store(PLACE + 4092, 8, -5)  # over a border of pages
    memory.store(PLACE + 16, 1, 200)
    memory.fill(PLACE + 0x2FF0, 0x20, 9)
    memory.copy(PLACE + 0x5000, PLACE, 24)
    assert memory.load(PLACE + 4092, 8) == -5
    assert (memory.load(PLACE + 8, 8), memory.load(PLACE + 0x5008, 8), memory.load(PLACE + 0x5010, 1)) == (77, 77, 200)
    assert memory.load(PLACE + 0x3008, 8) == 0x0909090909090909
    assert [image.load(PLACE + at, 8) for at in (4092, 16, 0x3008, 0x5008)] == [0, 0, 0, 0]


def test_atomics_of_a_rehearsal(image):
    memory = Rehearsal(image)
    assert memory.exchange(PLACE + 8, 5) == 77 and memory.add(PLACE + 8, 3) == 5
    assert memory.compare_exchange(PLACE + 8, 8, 1) and not memory.compare_exchange(PLACE + 8, 8, 2)
    assert memory.load(PLACE + 8, 8) == 1 and image.load(PLACE + 8, 8) == 77
    with pytest.raises(Misuse, match="is held"):
        memory.wait(PLACE, 0)


def test_what_goes_back_to_the_kernel_is_noted_and_reads_as_zero(image):
    memory = Rehearsal(image)
    assert memory.sbrk(0) == 0x555555620800
    assert memory.sbrk(-0x3800) == 0x555555620800 and memory.sbrk(0) == 0x55555561D000
    assert memory.sbrk(4096) == memory.mmap(1 << 40) == -1
    memory.decommit(PLACE, 0x1000)
    memory.munmap(PLACE + 0x8000, 0x2000)
    assert memory.mremap(PLACE + 0xC000, 0x3000, 0x1000, 1) == PLACE + 0xC000
    assert memory.given == [
        (0x55555561D000, 0x555555621000),
        (PLACE, PLACE + 0x1000),
        (PLACE + 0x8000, PLACE + 0xA000),
        (PLACE + 0xD000, PLACE + 0xF000),
    ]
    assert memory.load(PLACE + 8, 8) == 0
    assert not memory.is_mapped(PLACE + 0x8000) and memory.is_mapped(PLACE + 0x7000)


def test_mappings_of_a_rehearsal_are_its_own(image):
    memory = Rehearsal(image)
    first, second = memory.mmap(0x2001), memory.mmap(0x1000)
    assert second - first == 0x3000 and memory.is_mapped(second) and not memory.is_mapped(second + 0x1000)
    assert memory.load(first + 0x2000, 8) == 0 and memory.taken == 0
    memory.copy(first + 0xFF0, PLACE, 0x20)
    memory.store(second, 8, 3)
    assert memory.load(first + 0xFF8, 8) == 77 and memory.taken == 0x3000
    memory.munmap(first, 0x3000)
    assert memory.taken == 0x1000 and not memory.given


def test_a_misuse_ends_a_rehearsal_whatever_is_known_of_the_block(image):
    for known in ((), (64,)):
        with pytest.raises(Misuse, match="double free: 0x7f2000000000"):
            Rehearsal(image).fault("double free", PLACE, *known)


def test_a_break_that_somebody_else_moved_stays(image):
    image.section = (0x555555600000, 0x555555600000, 0x555555610000)
    memory = Rehearsal(image)
    assert memory.sbrk(0) == memory.sbrk(-4096) == -1 and not memory.given
