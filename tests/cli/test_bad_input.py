"""What a user can get wrong: one clear line, status 2, no traceback, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy import NO_MEMORY

from heapwright.errors import UserError
from heapwright.files import written_whole

pytestmark = pytest.mark.long

LENGTH = NO_MEMORY.count("\n")  # in lines


@pytest.fixture
def source(tmp_path):
    """Write an allocator's file; its path."""

    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return write


def test_an_unknown_name(refused):
    assert "did you mean 'kr'?" in refused("run", "-a", "krr", "--", "true")


def test_a_missing_file(refused):
    assert "there is no file nowhere.py" in refused("run", "-a", "nowhere.py", "--", "true")


def test_a_stack_that_is_not_closed(refused):
    assert "layer(layer(allocator))" in refused("run", "-a", "locked(kr", "--", "true")


def test_a_syntax_error(refused, source):
    path = source(NO_MEMORY + "\ndef broken(:\n")
    assert f"{path}:{LENGTH + 2}:" in refused("run", "-a", path, "--", "true")


def test_an_error_at_import(refused, source):
    path = source("import nothing_of_this_name\n" + NO_MEMORY)
    assert f"{path}:1: ModuleNotFoundError" in refused("run", "-a", path, "--", "true")


def test_a_missing_function(refused, source):
    path = source(NO_MEMORY.replace("def walk", "def wander"))
    assert "missing: walk" in refused("run", "-a", path, "--", "true")


def test_a_type_error(refused, source):
    path = source(NO_MEMORY.replace("return NULL", "return heap.bottom + size"))
    line = refused("run", "-a", path, "--", "true")
    assert f"{path}:10:" in line
    assert "bottom" in line


BREAKING = {
    "recursion": ("def down(n):\n    return down(n - 1) if n else 0\n", 1, "D5: recursion: down calls down"),
    "a set": ("def f(heap):\n    return len(set())\n", 2, "D2: `set()` outside check"),
    "a decorator": ("def same(f):\n    return f\n@same\ndef g(heap):\n    return 0\n", 3, "D1: a decorator"),
    "a wrong name": ("def f(heap):\n    return flor_log2(1)\n", 2, "`flor_log2` is defined nowhere"),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_rule_of_the_dialect_is_said_before_anything_is_compiled(refused, source, name):
    body, line, sentence = BREAKING[name]
    path = source(NO_MEMORY + body)
    assert f"{path}:{LENGTH + line}: " in (said := refused("run", "-a", path, "--", "true", PATH="/nowhere"))
    assert sentence in said


def test_two_types_that_only_the_compiler_sees_are_told_at_the_users_line(refused, source):
    mixed = "    place = heap.word + 16\n    place = heap\n    return place + size\n"
    path = source(NO_MEMORY.replace("    return NULL\n", mixed))
    assert f"heapwright: {path}:" in refused("run", "-a", path, "--", "true")


def test_a_field_that_is_none(refused, source):
    assert "a field is a Word" in refused(
        "run", "-a", source(NO_MEMORY.replace("word: Word", "word: Wort")), "--", "true"
    )


def test_no_linker(refused, source, tmp_path):
    line = refused("run", "-a", source(NO_MEMORY), "--", "true", PATH=str(tmp_path), CC="")
    assert "there is no linker: install one" in line


def test_a_linker_that_fails(refused, source):
    assert "false could not make" in refused("run", "-a", source(NO_MEMORY), "--", "true", CC=shutil.which("false"))


def test_a_cache_that_cannot_be_written(refused, source, tmp_path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    line = refused("run", "-a", source(NO_MEMORY), "--", "true", HEAPWRIGHT_CACHE=str(place / "cache"))
    assert "set HEAPWRIGHT_CACHE to a folder" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache(refused, source, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    assert "cannot write" in refused("run", "-a", source(NO_MEMORY), "--", "true", HEAPWRIGHT_CACHE=str(cache))


def test_a_foreign_file_is_no_trace(refused, tmp_path):
    path = tmp_path / "notes.hwt"
    path.write_text("These are my notes.\n" * 10)
    assert str(path) in refused("compare", path, "-a", "system")


def test_a_truncated_trace(heapwright, refused, tmp_path):
    path = tmp_path / "true.hwt"
    assert heapwright("record", "-o", path, "--", "ls").returncode == 0
    path.write_bytes(path.read_bytes()[:-40])
    assert str(path) in refused("compare", path, "-a", "system")


def test_a_trace_that_is_not_there(refused, tmp_path):
    assert "nowhere.hwt" in refused("compare", tmp_path / "nowhere.hwt")


def test_a_library_that_is_not_there(heapwright, refused, tmp_path):
    path = tmp_path / "ls.hwt"
    heapwright("record", "-o", path, "--", "ls")
    assert "there is no library /nowhere.so" in refused("compare", path, "-a", "other=/nowhere.so")


def test_an_output_folder_that_is_not_there(refused):
    assert "there is no folder /nowhere" in refused("record", "-o", "/nowhere/x.hwt", "--", "true")


def test_a_program_that_allocates_nothing(refused, tmp_path):
    assert "never called malloc" in refused("record", "-o", tmp_path / "true.hwt", "--", "true")
    assert not list(tmp_path.iterdir())


def test_an_unknown_command(heapwright):
    done = heapwright("runn")
    assert done.returncode == 2
    assert "No such command 'runn'" in done.stderr


# --- where nothing can be written


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["allocators", "bench --list", "simulate boxtest -a kr", "check kr --only U1"])
def test_an_output_that_is_full(command, root):
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "heapwright", *command.split()]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, cwd=root, check=False, timeout=110)
    assert (done.returncode, done.stderr) == (2, "heapwright: standard output: No space left on device\n")


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="not a regular file"), written_whole(pipe):
        pass
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_a_link_stays_one(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with written_whole(link) as file:
        file.write(b"whole")
    assert link.is_symlink() and target.read_bytes() == b"whole"


def test_a_folder_is_no_trace(refused, tmp_path):
    assert f"{tmp_path}: is a folder; expected" in refused("simulate", tmp_path)
