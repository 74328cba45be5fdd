"""A library is made anew when anything that goes into it has changed, and found when nothing has."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from toy import NO_MEMORY

from heapwright.allocator import load
from heapwright.native.heap import DOORS, NativeHeap
from heapwright.native.library import (
    NEVER_COMPILED,
    PACKAGE,
    BuildError,
    compiler_sources,
    key_of,
    library_of,
    sources_of,
    stack_for,
)

ROOT = Path(__file__).parent.parent.parent


def ladder():
    spec = spec_from_file_location("check_imports", ROOT / "tools" / "check_imports.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_not_hashed_cannot_be_imported():
    check = ladder()
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    for name in packages & NEVER_COMPILED:
        assert check.refusal("native", f"heapwright.{name}.x"), f"native may import {name}: its sources must be hashed"


@pytest.mark.parametrize("name", ["traces/events.py", "bits.py", "libc.py", "layers/complete.py", "native/c.py"])
def test_all_else_is_hashed(name):
    assert PACKAGE / name in set(compiler_sources())


def test_a_stack_has_the_files_of_its_modules():
    names = {path.name for path in sources_of(stack_for("hoard"))}
    assert {"hoard.py", "hoard_threads.py", "size_classes.py"} <= names
    assert {"kr.py", "locked.py"} <= {path.name for path in sources_of(stack_for("kr"))}


MINE = "from mine_numbers import UNIT\n" + NO_MEMORY.replace("return NULL", "return UNIT - UNIT")


def test_a_module_of_which_only_a_number_is_taken_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    numbers, mine = tmp_path / "mine_numbers.py", tmp_path / "mine.py"
    numbers.write_text("UNIT = 16\n")
    mine.write_text(MINE)
    allocator = load(str(mine))
    before = key_of(allocator)
    assert key_of(allocator) == before
    numbers.write_text("UNIT = 32\n")
    assert key_of(allocator) != before


def test_a_library_has_every_door():
    heap = NativeHeap("kr", size=1 << 24)
    try:
        assert all(hasattr(heap.library, f"heapwright_{name}") for name in DOORS)
        assert heap.stats()["heap_bytes"] == 0
        address = heap.alloc(100, 16)
        assert address % 16 == 0
        assert heap.stats()["heap_bytes"] > 0
        heap.dealloc(address, 100, 16)
    finally:
        heap.close()


def test_a_library_that_cannot_be_made_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("HEAPWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr("heapwright.native.library.compile_to", lambda output, what: output.write_text("no object"))
    with pytest.raises(BuildError):
        library_of("kr")
    assert list(tmp_path.iterdir()) == []
