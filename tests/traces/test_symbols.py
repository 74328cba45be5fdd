"""Functions and lines of addresses, in real files: with debug information, without it, and with it apart."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from heapwright import elf
from heapwright.traces import symbol_cache
from heapwright.traces.stacks import Frame
from heapwright.traces.symbol_cache import SymbolCache
from heapwright.traces.symbols import ModuleFile, Symbols, demangled

SOURCE = "int other(int n) { return n; }\n__attribute__((noinline)) int known(int n) {\n    return other(n) * 3;\n}\n"
NEEDED = ("cc", "objcopy", "nm", "readelf")

needs_tools = pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason="gcc or binutils are not installed")


@pytest.fixture
def library(tmp_path):
    """A library of one function, its build ID, and the address of the function."""
    (tmp_path / "a.c").write_text(SOURCE)
    path = tmp_path / "liba.so"
    subprocess.run(
        ["cc", "-g", "-O1", "-shared", "-fPIC", "-Wl,--build-id", "a.c", "-o", path], cwd=tmp_path, check=True
    )
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
    names = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    [address] = [int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" known")]
    return ModuleFile(str(path), notes.split("Build ID: ")[1].split()[0]), address


def strip(path):
    subprocess.run(["objcopy", "--strip-all", path], check=True)


@needs_tools
def test_a_function_its_file_and_its_line(library):
    module, address = library
    [frame] = Symbols().frames(module, address)
    assert (frame.function, frame.line, frame.module, frame.is_inlined) == ("known", 2, module.path, False)
    assert frame.file.endswith("/a.c")


@needs_tools
def test_a_stripped_library_has_its_exports_only(library):
    module, address = library
    strip(module.path)
    assert Symbols().frames(module, address) == [Frame("known", module=module.path)]


@needs_tools
def test_an_address_without_a_symbol_is_named_by_its_place(library):
    module, _ = library
    assert Symbols().frames(module, 8) == [Frame("liba.so+0x8", module=module.path)]


@needs_tools
def test_a_file_that_was_replaced_is_not_asked(library):
    module, address = library
    other = module._replace(build_id="00" * 20)
    assert Symbols().frames(other, address) == [Frame(f"liba.so+{address:#x}", module=module.path)]


@needs_tools
@pytest.mark.parametrize("place", ["beside", ".debug", "debug folder", "build ID"])
def test_debug_information_apart(library, tmp_path, place):
    module, address = library
    debug = tmp_path / "debug"
    folders = {
        "beside": tmp_path,
        ".debug": tmp_path / ".debug",
        "debug folder": debug / tmp_path.relative_to("/"),
        "build ID": debug / ".build-id" / module.build_id[:2],
    }
    name = f"{module.build_id[2:]}.debug" if place == "build ID" else "liba.debug"
    folders[place].mkdir(parents=True, exist_ok=True)
    target = folders[place] / name
    subprocess.run(["objcopy", "--only-keep-debug", module.path, target], check=True)
    strip(module.path)
    if place != "build ID":
        subprocess.run(["objcopy", f"--add-gnu-debuglink={target}", module.path], check=True)
        assert elf.debug_link(module.path) == "liba.debug"
    assert [frame.line for frame in Symbols(debug).frames(module, address)] == [2]


@needs_tools
def test_debug_information_of_another_build_is_not_taken(library, tmp_path):
    module, address = library
    (tmp_path / "b.c").write_text("int more;\n" + SOURCE)
    other = ["cc", "-g", "-shared", "-fPIC", "-Wl,--build-id", "b.c", "-o", "other.so"]
    subprocess.run(other, cwd=tmp_path, check=True)
    subprocess.run(["objcopy", "--only-keep-debug", tmp_path / "other.so", tmp_path / "liba.debug"], check=True)
    strip(module.path)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={tmp_path / 'liba.debug'}", module.path], check=True)
    assert [frame.line for frame in Symbols(tmp_path).frames(module, address)] == [0]


@needs_tools
def test_a_program_at_a_fixed_address(tmp_path):
    (tmp_path / "a.c").write_text(SOURCE + "int main(void) { return known(1); }\n")
    path = tmp_path / "a"
    subprocess.run(["cc", "-g", "-O1", "-no-pie", "a.c", "-o", path], cwd=tmp_path, check=True)
    names = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    [address] = [int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" known")]
    assert elf.first_address(str(path)) == 0x400000
    assert [frame.function for frame in Symbols().frames(ModuleFile(str(path)), address)] == ["known"]


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF", b"text"])
def test_a_file_that_is_none_has_no_symbols(tmp_path, content):
    path = tmp_path / "liba.so"
    if content is not None:
        path.write_bytes(content)
    assert Symbols().frames(ModuleFile(str(path), "ab"), 16) == [Frame("liba.so+0x10", module=str(path))]
    assert Symbols().frames(ModuleFile(""), 16) == [Frame("?+0x10")]


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("main", "main"),
        ("main.cold", "main"),
        ("walk.constprop.0.isra.0", "walk"),
        ("_ZN6Basket4fillEi", "Basket::fill(int)"),
        ("_ZN4core3fmt9Formatter3pad17hf7f5e1f2ab01f1a8E", "core::fmt::Formatter::pad"),
        ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
        ("_ZN", "_ZN"),
        ("_R", "_R"),
    ],
)
def test_names_are_as_a_programmer_writes_them(symbol, name):
    assert demangled(symbol) == name


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache of symbols that keeps small files, too."""
    monkeypatch.setattr(symbol_cache, "LARGE", 1)
    return SymbolCache(tmp_path / "kept")


def tables(kept):
    return sorted(each.name for each in kept.folder.glob("*"))


@needs_tools
def test_a_table_that_was_kept_serves_when_the_file_is_gone(library, kept):
    module, address = library
    expected = Symbols(kept=kept).frames(module, address)
    assert tables(kept) == [f"{module.build_id}.symcache"]
    os.unlink(module.path)
    assert Symbols(kept=kept).frames(module, address) == expected
    assert [frame.function for frame in expected] == ["known"]
    assert Symbols(kept=kept).frames(module._replace(build_id="00" * 20), address)[0].function.startswith("liba.so+")


@needs_tools
def test_a_table_without_debug_information_is_not_kept(library, kept):
    module, address = library
    strip(module.path)
    assert Symbols(kept=kept).frames(module, address) == [Frame("known", module=module.path)]
    assert tables(kept) == []


@needs_tools
def test_a_small_file_has_its_table_made_anew(library, tmp_path):
    module, address = library
    kept = SymbolCache(tmp_path / "kept")
    assert Symbols(kept=kept).frames(module, address)[0].line == 2
    assert tables(kept) == []


@needs_tools
@pytest.mark.parametrize("damage", [b"", b"SYMC", b"text" * 100])
def test_a_damaged_table_is_replaced(library, kept, damage):
    module, address = library
    expected = Symbols(kept=kept).frames(module, address)
    place = kept.folder / f"{module.build_id}.symcache"
    whole = place.read_bytes()
    place.write_bytes(damage)
    assert Symbols(kept=kept).frames(module, address) == expected
    assert place.read_bytes() == whole


@needs_tools
def test_symbols_need_no_cache_that_can_be_written(library, tmp_path, monkeypatch):
    monkeypatch.setattr(symbol_cache, "LARGE", 1)
    (tmp_path / "file").write_text("")
    module, address = library
    assert Symbols(kept=SymbolCache(tmp_path / "file" / "kept")).frames(module, address)[0].line == 2


@needs_tools
def test_the_tables_that_were_not_used_for_longest_make_room(library, kept, monkeypatch):
    module, address = library
    Symbols(kept=kept).frames(module, address)
    own = kept.folder / f"{module.build_id}.symcache"
    for name, used in ("old", 3), ("new", 9):
        (kept.folder / f"{name}.symcache").write_bytes(bytes(1000))
        os.utime(kept.folder / f"{name}.symcache", (used, used))
    monkeypatch.setattr(symbol_cache, "ROOM", own.stat().st_size + 1500)
    own.unlink()
    Symbols(kept=kept).frames(module, address)
    assert tables(kept) == sorted([own.name, "new.symcache"])
