"""An allocator may be a package: its rooms are loaded, linted, mutated, cited and compiled as its own file is."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.allocator import load
from heapwright.conformance import Subject
from heapwright.conformance.mutants import killer_of, killers_for, mutants_of
from heapwright.describe import companions, describe
from heapwright.dialect import lint, refused
from heapwright.errors import AllocatorError
from heapwright.lab.naming import parse
from heapwright.machine import Fault, start
from heapwright.native.ingredients import key_of, label, sources_of

ROOM = '''"""Extents of free memory."""

from __future__ import annotations

from heapwright import bits
from heapwright.layout import Struct, Word

UNIT = 16


class Region(Struct):
    next: Region
    size: Word


def end_of(region):'''
ROOM_NAMES = ("end_of", "rounded", "is_inside", "fits", "Region", "UNIT")


def qualified(text):
    """The source with the room's names behind the room's."""
    for name in ROOM_NAMES:
        text = text.replace(f"{name}(", f"extents.{name}(").replace(f"{name}]", f"extents.{name}]")
    text = text.replace("(UNIT", "(extents.UNIT").replace(" UNIT", " extents.UNIT")
    return text.replace("Region.SIZE", "extents.Region.SIZE")


def split_in_two(folder):
    """The package `mine`: `linked_list`, with what it says of one region in a room of its own."""
    text = Path(load("linked_list").parts[0].__file__).read_text()
    head, rest = text.split("def end_of(region):")
    regions, policy = rest.split("\n\n\n# --- the list of free regions")
    head = head.partition("class Region(Struct):\n    next: Region\n    size: Word\n\n\n")
    head = (head[0] + head[2]).replace("UNIT = 16\n", "").replace("# --- regions\n\n\n", "")
    head = head.replace("from heapwright.layout", "from mine import extents\nfrom heapwright.layout")
    package = folder / "mine"
    package.mkdir()
    (package / "__init__.py").write_text(qualified(f"{head}# --- the list of free regions{policy}"))
    (package / "extents.py").write_text(ROOM + regions + "\n")
    return package


@pytest.fixture
def mine(tmp_path):
    return split_in_two(tmp_path)


def edit(path, right, wrong):
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))


# --- found, and called by its folder's name


def test_it_is_loaded_by_its_folder_and_by_its_file(mine, monkeypatch):
    monkeypatch.chdir(mine)
    for spec in (str(mine), f"{mine}/", str(mine / "__init__.py"), "../mine", "./", "locked(../mine/)"):
        assert (load(spec).name, label(spec).split("-")[-1]) == ("mine", "mine")
        assert load(spec).parts[-1].extents.UNIT == 16


def test_a_label_does_not_make_a_library_of_a_package():
    assert not parse("yours=./mine/").is_library
    assert parse("yours=./mine").is_library


def test_a_folder_that_is_no_package(tmp_path):
    with pytest.raises(AllocatorError, match=f"there is no file {tmp_path}/__init__.py"):
        load(f"{tmp_path}/")


def test_an_error_in_a_room_is_cited_there(mine):
    (mine / "extents.py").write_text("UNIT = 16\nHALF = UNIT // 0\n")
    with pytest.raises(AllocatorError, match=r"mine/extents\.py:2: ZeroDivisionError"):
        load(str(mine))
    (mine / "extents.py").write_text("UNIT = = 16\n")
    with pytest.raises(AllocatorError, match=r"mine/extents\.py:1: invalid syntax"):
        load(str(mine))


def test_packages_of_one_name_have_rooms_of_their_own(mine, tmp_path):
    other = tmp_path / "other" / "mine"
    shutil.copytree(mine, other)
    edit(other / "extents.py", "UNIT = 16", "UNIT = 32")
    units = [load(str(each)).parts[-1].extents.UNIT for each in (mine, other, mine)]
    assert units == [16, 32, 16]


def test_a_room_that_was_changed_is_loaded_anew(mine):
    before = load(str(mine))
    edit(mine / "extents.py", "UNIT = 16", "UNIT = 32")
    after = load(str(mine))
    assert (before.parts[0].extents.UNIT, after.parts[0].extents.UNIT) == (16, 32)


def test_its_page_has_those_of_its_rooms(mine):
    description = describe(str(mine))
    assert description.name == "mine"
    assert [(each.name, each.idea) for each in companions(description)] == [("extents", "Extents of free memory.")]


# --- linted


def test_its_rooms_are_linted(mine):
    assert refused(mine / "__init__.py") == []
    edit(mine / "extents.py", "    return region.address + region.size", "    return region.address + region.length")
    [violation] = refused(mine / "__init__.py")
    assert violation.path == mine / "extents.py"
    assert violation.sentence.startswith("no struct has field 'length'")


def test_a_name_that_a_room_does_not_define(mine):
    edit(mine / "__init__.py", "if extents.end_of(last) == end else", "if extents.end_off(last) == end else")
    [violation] = lint(mine / "__init__.py")
    assert (violation.rule, violation.sentence) == ("D1", "extents has no 'end_off': did you mean 'end_of'?")


def test_a_room_may_not_have_the_name_of_a_function_of_the_heap(mine):
    (mine / "extents.py").rename(mine / "walk.py")
    text = (mine / "__init__.py").read_text()
    (mine / "__init__.py").write_text(text.replace("import extents", "import walk").replace("extents.", "walk."))
    assert "the room `walk` has the name" in lint(mine / "__init__.py")[0].sentence


def test_only_its_own_package_is_imported(mine):
    edit(mine / "extents.py", "\nUNIT = 16", "\nfrom yours import chunks\nimport extents\n\nUNIT = 16")
    assert [each.rule for each in lint(mine / "extents.py")] == ["D3"]


# --- as good as the allocator in one file


def test_it_gives_the_same_addresses(mine):
    found = []
    for spec in ("linked_list", str(mine)):
        heap = start(load(spec))
        blocks = [heap.alloc(size) for size in range(0, 2000, 24)]
        for block in blocks[::2]:
            heap.dealloc(block)
        found.append([*blocks, *(heap.alloc(40) for _ in range(9))])
    assert found[0] == found[1]


def test_a_fault_cites_the_room(mine):
    edit(mine / "extents.py", "    return region.address + region.size", "    return region.at(8).size")
    heap = start(load(str(mine)))
    with pytest.raises(Fault) as caught:
        heap.alloc(40)
    assert str(caught.value.place).startswith("mine/extents.py:")


def test_a_number_that_does_not_fit_is_noticed_in_a_room(mine):
    edit(mine / "extents.py", "    return region.address + region.size", "    return region.address + (1 << 62) * 4")
    heap = start(load(str(mine)))
    with pytest.raises(Fault, match="64 bits"):
        heap.alloc(40)


@pytest.mark.long
def test_all_checks_hold_by_the_command_line(heapwright, mine):
    done = heapwright("check", "./mine/", "--quick", cwd=mine.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_it_runs_a_program(heapwright, mine):
    done = heapwright("run", "-a", "./mine", "--", "true", cwd=mine.parent)
    assert (done.returncode, done.stderr) == (0, "")


# --- mutants


@pytest.mark.long
@pytest.mark.parametrize("room", ["extents.py", "__init__.py"])
def test_mutants_of_each_room_are_planted_and_found(mine, room):
    subject = Subject(str(mine))
    mutants = [each for each in mutants_of(subject) if each.path == mine / room]
    is_wanted = ("end_of: `-` for `+`", "join: without `lower.size += upper.size`")
    mutant = next(each for each in mutants if each.what.startswith(is_wanted))
    assert str(mutant).startswith(f"mine/{room}:")
    assert killer_of(mutant, killers_for(subject)).isidentifier()


@pytest.mark.long
def test_mutants_of_a_shipped_room_are_planted_and_found():
    subject = Subject("tlsf")
    mutants = {each.what: each for each in mutants_of(subject) if each.file == "tlsf/blocks.py"}
    mutant = mutants["next_phys: `-` for `+` in `block.address + HEADER`"]
    assert killer_of(mutant, killers_for(subject)).isidentifier()


# --- the cache's key


def test_a_change_in_a_room_changes_the_key_and_a_comment_does_not(mine):
    before = key_of(load(str(mine)))
    edit(mine / "extents.py", "\nUNIT = 16", "\n# of all sizes\nUNIT = 16")
    assert key_of(load(str(mine))) == before
    edit(mine / "extents.py", "\nUNIT = 16", "\nUNIT = 32")
    assert key_of(load(str(mine))) != before


def test_a_room_of_which_only_a_number_is_taken_counts(mine):
    edit(mine / "__init__.py", "from mine import extents", "from mine import extents\nfrom mine.numbers import HALF")
    (mine / "numbers.py").write_text("HALF = 8\n")
    assert mine / "numbers.py" in sources_of(load(str(mine)))


def test_the_key_is_the_same_wherever_the_package_lies(mine, tmp_path):
    before = key_of(load(str(mine)))
    shutil.copytree(mine, tmp_path / "deep" / "er" / "mine")
    assert key_of(load(str(tmp_path / "deep" / "er" / "mine"))) == before


def test_what_else_was_loaded_is_not_in_the_key():
    allocator.load("ptmalloc")
    folders = {path.parent.name for path in sources_of(load("tlsf"))}
    assert folders == {"layers", "parts", "tlsf"}  # its interface has the bottom of the layers
    assert not [path for path in sources_of(load("tlsf")) if path.name.startswith("ptmalloc")]


ANYWHERE = """
import mine.extents as extents
if 1:
    from mine import extents
else:
    from mine import extents
try:
    from mine import extents
except OSError:
    from mine import extents
finally:
    from mine import extents
def f():
    for i in range(3):
        from mine.extents import UNIT
    match i:
        case 1:
            from mine import extents
"""


def test_an_import_anywhere_in_a_source_means_the_rooms_of_this_load():
    tree = allocator.with_own_rooms(ast.parse(ANYWHERE), Path("mine", "__init__.py"), f"{allocator.LOADED}x]")
    assert ast.unparse(tree).count(f"{allocator.LOADED}x]") == ANYWHERE.count("import")


def test_a_source_that_changed_is_loaded_as_it_is_now(tmp_path):
    """A load may reuse the code of the last one."""
    package = split_in_two(tmp_path)
    before = [load(str(package)).parts[0].__name__ for _ in range(2)]
    room = package / "extents.py"
    room.write_text(room.read_text().replace("UNIT = 16", "UNIT = 32"))
    assert [*before, load(str(package)).parts[0].extents.UNIT] == [before[0], before[0], 32]
