"""A library is made anew when anything that goes into it has changed, and found when nothing has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from toy import NO_MEMORY

from heapwright.allocator import load
from heapwright.native import own_sources
from heapwright.native.heap import EXPORTS, NativeHeap
from heapwright.native.ingredients import key_of, label, meaning_of, sources_of
from heapwright.native.library import cache, library_of, made_of, stack_for
from heapwright.native.own_sources import NEVER_COMPILED, PACKAGE, BuildError, compiler_sources

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
    assert name in set(compiler_sources())


def test_a_reader_of_traces_makes_no_other_library():
    assert {name for name in compiler_sources() if name.startswith("traces/importers/")} == set()
    assert not {"traces/format.py", "traces/symbols.py", "traces/synthesize.py"} & set(compiler_sources())


@pytest.mark.parametrize(
    ("name", "is_contained"),
    [("traces/raw.py", True), ("traces/conversion/output.py", True), ("traces/importers/heaptrack.py", False)],
)
def test_a_change_of_what_a_library_contains_changes_the_key(tmp_path, monkeypatch, name, is_contained):
    shutil.copytree(PACKAGE, tmp_path / "copy")
    monkeypatch.setattr(own_sources, "PACKAGE", tmp_path / "copy")
    before = own_sources.digest_of_compiler.__wrapped__()
    with (tmp_path / "copy" / name).open("a") as file:
        file.write("# another line\n")
    assert (own_sources.digest_of_compiler.__wrapped__() != before) == is_contained


def test_all_that_code_of_a_library_may_refer_to_is_hashed():
    imports = imports_of_modules()
    folders = [f"{each}/" for each in ("native", "layers")]
    roots = {name for name in imports if name.startswith(tuple(folders)) or has_functions(name)}
    waiting, reached = list(roots), set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += imports[name] - reached
    assert {"traces/raw.py", "traces/raw_stacks.py", "traces/conversion/output.py", "traces/columns.py"} <= reached
    of_stacks = {name for name in reached if name.startswith("allocators/")}
    own = {name for name in roots if has_functions(name)}  # whose bytes are in the key of their library
    assert reached - of_stacks - own <= set(compiler_sources())


def has_functions(name):
    """Whether a module's functions become a library of their own."""
    return "\nCOMPILED = {" in (PACKAGE / name).read_text()


def module_at(name):
    return ".".join(("heapwright", *Path(name).with_suffix("").parts)).removesuffix(".__init__")


def imports_of_modules():
    """The modules of heapwright that each one imports, anywhere but for its types, as paths in the package."""
    check = ladder()
    paths = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    homes = {module_at(name): name for name in paths}
    found = {name: {module for _, module in check.imports_of(path, PACKAGE)} for name, path in paths.items()}
    return {name: {homes[module] for module in modules if module in homes} for name, modules in found.items()}


def test_a_stack_has_the_files_of_its_modules():
    names = {path.name for path in sources_of(stack_for("hoard"))}
    assert {"threads.py", "superblocks.py", "size_classes.py"} <= names
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


# --- what makes no other library


def test_the_same_source_has_the_same_key_wherever_it_lies(tmp_path, monkeypatch):
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.py").write_text(NO_MEMORY)
    monkeypatch.chdir(tmp_path / "a")
    specs = ["mine.py", "./mine.py", "../a/mine.py", "../b/c/mine.py", str(tmp_path / "a" / "mine.py")]
    stacks = [stack_for(spec) for spec in specs]
    assert len({key_of(stack) for stack in stacks}) == 1
    assert {label(stack.spec) for stack in stacks} == {"locked-sized-mine"}
    (tmp_path / "yours.py").write_text(NO_MEMORY)
    assert key_of(stack_for(str(tmp_path / "yours.py"))) != key_of(stacks[0]), "its name is in its reports"


SAME = {
    "a comment": ("    return NULL\n", "    return NULL  # there is none\n"),
    "a line's comment": ("    return NULL\n", "    # there is none\n    return NULL\n"),
    "a docstring": ("    return NULL\n", '    """There is none."""\n    return NULL\n'),
    "the module's docstring": ("\nfrom heapwright.layout", '"""No heap."""\n\nfrom heapwright.layout'),
    "blank lines": ("\n\n\ndef alloc", "\n\n\n\n\n\ndef alloc"),
    "spelling": ("    return NULL\n", "    return (NULL)\n"),
    "an assert of check": (
        "def check(heap, start, end):\n    pass\n",
        "def check(heap, start, end):\n    assert start\n",
    ),
}
OTHER = {
    "another result": ("    return NULL\n", "    return 1\n"),
    "another name": ("    return NULL\n", "    return size\n"),
    "another operator": ("end - start", "end + start"),
    "another field": ("    word: Word\n", "    word: Word\n    more: Word\n"),
    "another text": ("    return NULL\n", "    heap.memory.fault('none', 0)\n    return NULL\n"),
    "another constant": ("\n\n\nclass Heap", "\n\nTHREADS = 'own'\n\n\nclass Heap"),
    "another function": ("def check(", "def trim(heap):\n    return 0\n\n\ndef check("),
}


@pytest.mark.parametrize("change", [*SAME, *OTHER])
def test_the_code_alone_counts(tmp_path, change):
    right, wrong = {**SAME, **OTHER}[change]
    assert NO_MEMORY.count(right) == 1
    before, after = tmp_path / "mine.py", tmp_path / "changed" / "mine.py"
    after.parent.mkdir()
    before.write_text(NO_MEMORY)
    after.write_text(NO_MEMORY.replace(right, wrong))
    assert (meaning_of(before) == meaning_of(after)) == (change in SAME)
    assert (key_of(load(str(before))) == key_of(load(str(after)))) == (change in SAME)


def test_sets_of_texts_have_an_order(tmp_path, root):
    """Python's own differs from process to process."""
    path = tmp_path / "mine.py"
    path.write_text("def f(n):\n    return n in {'a', 'b', 'c', 'd', 'e'}\n")
    script = f"from heapwright.native.ingredients import *; print(meaning_of(Path({str(path)!r})).hex())"
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12345"
    }
    assert len(said) == 1


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """What was compiled, with an empty cache and a compiler that writes a text."""
    calls = []

    def compile_to(output, what, form="object"):
        calls.append(form)
        output.write_text(f"the {form} of {what[1]}")

    monkeypatch.setenv("HEAPWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("heapwright.native.library.compile_to", compile_to)
    return calls


@pytest.mark.parametrize("form", ["asm", "llvm", "object"])
def test_texts_are_cached_too(compiled, form):
    made = [made_of(stack_for("kr"), form) for _ in range(3)]
    assert len(set(made)) == 1 and made[0].read_text() == f"the {form} of locked(kr)"
    assert compiled == [form] and made[0].parent == cache()


def test_forms_are_kept_apart(compiled):
    assert len({made_of(stack_for("kr"), form) for form in ("asm", "llvm", "object")}) == 3
    assert compiled == ["asm", "llvm", "object"]


def test_a_library_from_another_path_is_found(compiled, tmp_path, monkeypatch):
    monkeypatch.setattr("heapwright.native.library.link", lambda linker, objects, library: library.write_text("linked"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"# of {folder}\n{NO_MEMORY}")
    made = {library_of(str(tmp_path / folder / "mine.py")) for folder in ("a", "b", "a")}
    assert len(made) == 1 and compiled == ["object"]


def test_a_library_has_every_door():
    heap = NativeHeap("kr", size=1 << 24)
    try:
        assert all(hasattr(heap.library, f"heapwright_{name}") for name in EXPORTS)
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
