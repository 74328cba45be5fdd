"""The defects of each specimen, and of none of ours: what the files `*_defects.py` say is so."""

import re

import pytest

from heapwright import allocator
from heapwright.machine import Fault, start

from . import kr_xv6_defects, outline_dlmalloc_defects, page_allocator_defects, user_allocator_defects
from .defects import source_of

ALL = [
    each.DEFECTS for each in (kr_xv6_defects, outline_dlmalloc_defects, page_allocator_defects, user_allocator_defects)
]
OUTLINE = outline_dlmalloc_defects.SPECIMEN
PAGE_ALLOCATOR, PAGES = page_allocator_defects.SPECIMEN, page_allocator_defects.PAGES


@pytest.mark.parametrize(("specimen", "defect"), [pair for each in ALL for pair in each.on_the_specimen()])
def test_the_specimen_has_it(specimen, defect):
    defect.is_shown_by(specimen)


@pytest.mark.parametrize(("design", "defect"), [pair for each in ALL for pair in each.on_ours()])
def test_ours_has_not(design, defect):
    defect.scenario(design)


@pytest.mark.parametrize("defects", ALL, ids=str)
def test_each_defect_has_its_scenario(defects):
    told = re.findall(r"^    ([A-Z]+[0-9]+) ", source_of(defects.specimen).read_text(), re.M)
    assert len(told) > 4 and defects.ids() == {*told}


# --- what is told of them besides


def test_a_base_without_a_type_has_no_fields(tmp_path):
    """B1: in C a line that does not compile; here one that does not run."""
    untyped = tmp_path / "untyped.py"
    untyped.write_text(source_of(OUTLINE).read_text().replace("base: Block", "base: Word"))
    with pytest.raises(Fault, match="'int' object has no attribute"):
        start(allocator.load(str(untyped))).alloc(16)


@pytest.mark.parametrize("design", [PAGE_ALLOCATOR, PAGES], ids=["specimen", "pages"])
def test_blocks_side_by_side_are_one_mapping(design):
    """C10: the kernel merges neighbours, so very many blocks can live."""
    heap = start(design)
    for _ in range(1000):
        heap.alloc(100)
    assert len(heap.extents()) == 1


@pytest.mark.parametrize("design", [PAGE_ALLOCATOR, PAGES], ids=["specimen", "pages"])
def test_a_mapping_that_fails_gives_0(design):
    """C13: the test for MAP_FAILED is right."""
    heap = start(design)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(100) == 0
    assert not heap.process.mappings
