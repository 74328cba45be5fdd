"""The ladder of packages, climbed the wrong way in every way there is."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.long

BAD = {
    "layout.py": "from heapwright.cli import main",
    "machine/memory.py": "from heapwright import native",
    "machine/heap.py": "from heapwright.allocators import ALLOCATORS",
    "native/face.py": "import heapwright.allocators.kr",
    "traces/replay.py": "def f():\n    from heapwright.lab import compare",
    "lab/fast.py": "from numba import njit",
    "layers/traced.py": "from heapwright.traces.events import ALLOC",
    "programs/boxtest.py": "from ..collections import box",
    "novelty/it.py": "from heapwright import layout",
}
GOOD = {
    "cli/run.py": "import json\nfrom heapwright.lab.compare import compare",
    "native/compiler.py": "from numba import njit\nfrom heapwright.native import c",
    "layers/traced.py": "from heapwright.traces.raw import ALLOC",
    "layers/sized.py": "from heapwright.layers import inner",
}


@pytest.mark.parametrize("name", BAD)
def test_an_import_from_below_is_found(tool, tree, name):
    files = {
        f"src/heapwright/{each}": "" for each in ("layout.py", "traces/events.py", "native/c.py", "lab/compare.py")
    }
    [problem, *_] = tool("check_imports").problems(tree({**files, f"src/heapwright/{name}": BAD[name]}))
    assert name in problem


def test_imports_from_above_are_not(tool, tree):
    files = {"src/heapwright/traces/raw.py": "", **{f"src/heapwright/{name}": text for name, text in GOOD.items()}}
    assert tool("check_imports").problems(tree(files)) == []


def test_a_circle_is_found(tool, tree):
    files = {"a.py": "from heapwright.machine import b", "b.py": "def f():\n    from heapwright.machine.a import g"}
    [problem] = tool("check_imports").problems(tree({f"src/heapwright/machine/{name}": files[name] for name in files}))
    assert problem.count("heapwright.machine.a") + problem.count("heapwright.machine.b") == 3


def test_ours(tool, root):
    assert tool("check_imports").problems(root) == []


def test_what_ships_in_a_malloc_does_no_job_of_the_lab(tool, root):
    package = root / "src" / "heapwright"
    for path in (package / "native" / "runtime").glob("*.py"):
        imported = {module for _, module in tool("check_imports").imports_of(path, package)}
        assert not [each for each in imported if each.startswith("heapwright.native.jobs")], path.name


def test_each_exception_is_needed(tool, root):
    check = tool("check_imports")
    package, needed = root / "src" / "heapwright", set()
    for path in package.rglob("*.py"):
        importer = path.relative_to(package).parts[0]
        needed |= {(importer, module) for _, module in check.imports_of(path, package)}
    assert set(check.EXCEPTIONS) <= needed
