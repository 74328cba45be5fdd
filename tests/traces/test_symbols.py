"""Functions and lines of addresses, in real files: with debug information, without it, and with it apart."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from heapwright import elf
from heapwright.traces.stacks import Frame
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
