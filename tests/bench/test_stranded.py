"""The model of wright's slabs has wright's classes and slabs, and counts pages as the kernel does."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from heapwright.allocators.wright import classes
from heapwright.traces.events import ALLOC, DEALLOC

WRIGHT = (8, 1024)


@pytest.fixture
def stranded(root):
    spec = spec_from_file_location("stranded", root / "bench" / "stranded.py")
    module = module_from_spec(spec)
    sys.modules["stranded"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    yield module
    del sys.modules["stranded"]


def test_its_blocks_and_slabs_are_those_of_wright(stranded):
    for size in range(1, classes.MAX_SMALL + 1, 7):
        block = classes.size_of_class(classes.class_of(size))
        assert stranded.rounded(size, *WRIGHT) == block
        assert stranded.slab_bytes(block, classes.TILE) == classes.tiles_for(block) * classes.TILE


def test_a_page_counts_once_it_has_a_block_and_one_live_block_keeps_it(stranded):
    pages = [(ALLOC, block, 1024) for block in range(8)]
    assert stranded.peak_of(pages, 1 << 14, *WRIGHT) == 2 * 4096
    others = [(DEALLOC, block, 0) for block in (0, 1, 2, 4, 5, 6)] + [(ALLOC, 9, 2048)]
    assert stranded.peak_of(pages + others, 1 << 14, *WRIGHT) == 3 * 4096


def test_an_empty_slab_serves_another_class(stranded):
    calls = [(ALLOC, 0, 1024), (DEALLOC, 0, 0), (ALLOC, 1, 2048)]
    assert stranded.peak_of(calls, 1 << 14, *WRIGHT) == 4096
