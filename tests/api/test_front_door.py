"""What `from heapwright import ...` offers: lightly, typed, and with words that teach."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import heapwright
from heapwright import Allocator, Heap, load, start
from heapwright.allocators import ALLOCATORS

HEAVY = ("numpy", "numba", "llvmlite", "rich", "heapwright.machine", "heapwright.collections")


def imported_by(code):
    """Which modules a fresh interpreter has after running some code."""
    program = f"{code}\nimport sys; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_the_package_is_light():
    assert imported_by("import heapwright; dir(heapwright)").isdisjoint(HEAVY)


def test_a_heap_needs_neither_numba_nor_numpy():
    code = "import sys; sys.modules.update(numba=None, numpy=None, llvmlite=None)\n"
    imported_by(f"{code}from heapwright import *; start('kr').draw().svg(); run_program('boxtest', 'kr')")


def test_every_public_name_is_there_and_told():
    assert set(heapwright.__all__) == {name for names in heapwright.HOMES.values() for name in names}
    assert set(heapwright.__all__) <= set(dir(heapwright))
    for name in heapwright.__all__:
        thing = getattr(heapwright, name)
        assert not (inspect.isclass(thing) or inspect.isfunction(thing)) or inspect.getdoc(thing), name


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'heapwright' has no attribute 'stat'"):
        heapwright.stat  # noqa: B018


@pytest.mark.long
def test_types_are_seen_by_a_checker(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(
        "from heapwright import Heap, load, open_trace, start\n"
        "heap: Heap = start(load('kr'))\n"
        "address: int = heap.alloc(24)\n"
        "text: str = heap.draw().svg()\n"
        "peak: int = open_trace('a.hwt').summary().peak_live_bytes\n"
        "wrong: str = heap.alloc(24)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()[:-1]] == ["use.py:6"], done.stdout


# --- start


@pytest.mark.parametrize("name", ALLOCATORS)
def test_start_takes_a_name(name):
    heap = start(name)
    heap.dealloc(heap.alloc(24))
    heap.check()
    assert repr(heap).startswith(f"<Heap of {name}: 0 live blocks, 0 bytes; ")


def test_start_takes_a_file_a_stack_and_an_allocator(root):
    path = root / "examples" / "powers_of_two.py"
    kr = load("kr")
    for given in (path, str(path), "locked(counted(kr))", kr):
        assert start(given).alloc(24) > 0
    assert start(kr).allocator is kr
    with pytest.raises(heapwright.AllocatorError, match="there is no file nothing.py"):
        start(Path("nothing.py"))


def test_options_are_the_machines():
    heap = start("kr", frames=32, page=16384, junk=False, budget=1000)
    assert (heap.process.space.page, heap.junk, heap.budget) == (16384, False, 1000)


def test_a_child_is_a_heap_of_the_same_kind():
    heap = start("kr")
    with heap.watch() as steps:
        child = heap.fork()
        child.alloc(24)
    assert isinstance(child, Heap) and not heap.live and steps == []


# --- words that teach


def test_help_of_an_allocator_is_its_page():
    page = pydoc.plain(pydoc.render_doc(load("kr")))
    assert "next fit over one circular free list" in page
    assert "I1  the free list is a circle through the anchor" in page
    assert pydoc.plain(pydoc.render_doc(load("locked(kr)"))).count("I1  ") == 1


def test_help_of_the_package_and_of_the_classes():
    assert "start(allocator" in pydoc.plain(pydoc.render_doc(heapwright))
    for thing in (Heap, Allocator, heapwright.Picture, heapwright.Fault, start, load, heapwright.run_program):
        assert ">>> " in inspect.getdoc(thing), thing


def test_a_block_says_who_made_it():
    heap = start("kr")
    kept, freed = heap.alloc(24), heap.alloc(24)
    heap.dealloc(freed)
    assert repr(heap.leaks()).startswith(f"[<live block #1 of 24 bytes at {kept:#x}, allocated at test_front_door.py:")
    assert "freed at test_front_door.py:" in repr(heap.blocks.freed[freed])


def test_a_pointer_shows_what_it_points_to():
    heap = start("kr")
    assert repr(heap.state) == "Heap at 0x1000: rover null, anchor Inline[Block]"
    heap.alloc(24)
    seen = []
    stop = heap.process.observe(lambda *access: seen.append(access))
    block = heap.state.rover.next
    seen.clear()
    assert repr(block) == "Block at 0x4000: next 0x1008, units 4,093"
    assert repr(block.at(0x13FD0)) == "Block at 0x13fd0: next ?, units 3", "kr does not write the link of a used block"
    assert repr(block.at(0)) == "Block at 0x0"
    assert repr(block.at(1 << 40)) == "Block at 0x10000000000: next ?, units ?"
    stop()
    assert seen == [], "looking is no access"
