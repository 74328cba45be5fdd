"""Starting programs: where the library may lie, what cannot be served, and how it ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from heapwright import elf
from heapwright.errors import UserError
from heapwright.preload import is_readable_by_all, loadable, preloaded, why_unserved

OWN_MALLOC = """
#include <stddef.h>
static char room[1 << 16];
static size_t used;
void *malloc(size_t size) { used = (used + 15) & ~15ul; used += size; return room + used - size; }
void free(void *block) { (void)block; }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *block, size_t size) { (void)block; return malloc(size); }
int main(void) { return malloc(10) == 0; }
"""
PLAIN = "#include <stdlib.h>\nint main(void) { void *volatile p = malloc(10); free(p); return 0; }\n"


@pytest.fixture
def cached_in(monkeypatch):
    """Put the compiled libraries into another cache."""
    pytest.importorskip("numba")
    from heapwright.native.jobs import clock
    from heapwright.native.library import functions_library, library_of, recorder_library, replayer_library
    from heapwright.traces.conversion import passes

    def copy(folder):
        folder.mkdir(exist_ok=True)
        of_functions = map(functions_library, (clock, passes))
        for each in (library_of("kr"), recorder_library(), replayer_library(), *of_functions):
            shutil.copy(each, folder)

    return copy


def says_who_serves(heapwright, *arguments, **environment):
    """Run a program that says whether our malloc is there, with `run` or `record`."""
    code = "import ctypes; print(hasattr(ctypes.CDLL(None), 'heapwright_fork_child'))"
    return heapwright(*arguments, "--", sys.executable, "-c", code, **environment)


# --- where the library lies


@pytest.mark.long
@pytest.mark.parametrize("name", ["a b", "a:b", "a$LIB", "relative"])
@pytest.mark.parametrize("command", ["run -a kr", "record -o x.hwt"])
def test_any_cache_serves(heapwright, cached_in, tmp_path, name, command):
    cached_in(tmp_path / name)
    cache = name if name == "relative" else str(tmp_path / name)
    done = says_who_serves(heapwright, *command.split(), cwd=tmp_path, HEAPWRIGHT_CACHE=cache)
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert "ld.so" not in done.stderr


def test_a_replay_from_a_cache_with_a_blank(heapwright, cached_in, tmp_path):
    cached_in(tmp_path / "a b")
    (tmp_path / "two.rep").write_text("0\n2\n4\n1\na 0 100\na 1 5000\nf 1\nf 0\n")
    done = heapwright("compare", tmp_path / "two.rep", "-a", "kr", "-n", "1", HEAPWRIGHT_CACHE=str(tmp_path / "a b"))
    assert done.returncode == 0, done.stderr


def test_a_stand_in_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    library = tmp_path / "a b.so"
    library.write_bytes(b"library")
    with preloaded(library, library) as value:
        first, second = map(Path, value.split(" "))
        assert first.name == "a-b.so" and first.read_bytes() == second.read_bytes() == b"library"
    assert not first.exists() and not first.parent.exists()


def test_what_other_users_cannot_read_is_copied_for_them(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    library = private / "kr.so"
    library.write_bytes(b"library")
    with ExitStack() as stack:
        assert loadable(library, False, stack) == library
        stand_in = loadable(library, True, stack)
        assert is_readable_by_all(stand_in) and not stand_in.stat().st_mode & 0o022
        assert not stand_in.parent.stat().st_mode & 0o066


def test_no_folder_without_a_blank(tmp_path, monkeypatch):
    monkeypatch.setattr("heapwright.preload.TEMPORARY", ())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a b"))
    (tmp_path / "a b").mkdir()
    with pytest.raises(UserError, match="no path with a blank.*set HEAPWRIGHT_CACHE"), preloaded(tmp_path / "a b"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_program_that_becomes_another_user_is_served_from_a_home_that_it_cannot_read(heapwright, cached_in, tmp_path):
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    cached_in(tmp_path / "cache")
    tmp_path.chmod(0o700)
    drop = ("setpriv", "--reuid", "65534", "--clear-groups", "grep", "-c", "kr-.*so", "/proc/self/maps")
    done = heapwright("run", "-a", "kr", "--", *drop, HEAPWRIGHT_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, done.stderr) == (0, "")


# --- programs that cannot be served


def test_a_program_that_no_library_serves_is_named(heapwright, compiled):
    static = compiled(PLAIN, "-static")
    own = compiled(OWN_MALLOC)
    done = heapwright("run", "-a", "kr", "--", static)
    reason = "it is statically linked, so nothing can be preloaded"
    assert (done.returncode, done.stderr) == (0, f"heapwright: kr does not serve {static}: {reason}\n")
    assert "it brings its own malloc" in heapwright("run", "-a", "kr", "--", own).stderr
    assert heapwright("run", "-a", "system", "--", static).stderr == ""


def test_programs_that_nothing_speaks_against(compiled):
    assert why_unserved("ls") == why_unserved(sys.executable) == why_unserved("no-such-program") == ""
    assert why_unserved(str(compiled(PLAIN))) == ""
    assert why_unserved("/etc/passwd") == why_unserved("/") == ""


def test_32_bits(compiled):
    assert why_unserved(str(compiled(PLAIN, "-m32"))).startswith("is a 32-bit program")


def damaged(program, place, content):
    data = bytearray(program.read_bytes())
    data[place : place + len(content)] = content
    program.write_bytes(data)
    return str(program)


def test_other_kinds_of_executables(compiled):
    program = compiled(PLAIN, "-no-pie")
    loader = program.read_bytes().index(b"/lib64/ld-linux-x86-64.so.2")
    assert "its loader is /lib/ld-musl-x86_64.so.1" in why_unserved(
        damaged(program, loader, b"/lib/ld-musl-x86_64.so.1\0\0\0")
    )
    assert "another processor" in why_unserved(damaged(program, 18, b"\xb7"))
    assert why_unserved(damaged(program, 4, b"\1")).startswith("is a 32-bit program")


def test_a_program_of_another_c_library_runs_unserved(heapwright, tmp_path):
    if not shutil.which("musl-gcc"):
        pytest.skip("musl-gcc is not installed")
    (tmp_path / "program.c").write_text(PLAIN)
    subprocess.run(["musl-gcc", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
    done = heapwright("run", "-a", "kr", "--", tmp_path / "program")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "uses another C library" not in line] == []


def test_a_damaged_executable_is_none_of_ours(compiled):
    program = compiled(PLAIN)
    whole = program.read_bytes()
    for length in (0, 3, 4, 20, 63, 64, 200, len(whole) - 100):
        program.write_bytes(whole[:length])
        assert not elf.defines(str(program), b"malloc")


def test_a_script_is_judged_by_its_interpreter(compiled, tmp_path):
    static = compiled(PLAIN, "-static")
    script = tmp_path / "script"
    script.write_text(f"#! {static} -x\n")
    script.chmod(0o755)
    assert why_unserved(str(script)) == why_unserved(str(static)) != ""
    script.write_text(f"#!{script}\n")  # itself, for ever
    assert why_unserved(str(script)) == ""


def test_a_program_that_gains_privileges(compiled):
    program = compiled(PLAIN)
    program.chmod(0o4755)
    assert why_unserved(str(program)) == ""  # our own ids: nothing is gained
    if os.geteuid() == 0:
        os.chown(program, 65534, 65534)
        program.chmod(0o4755)
        assert "LD_PRELOAD is then ignored" in why_unserved(str(program))


# --- how it ended


@pytest.mark.long
@pytest.mark.parametrize("command", ["run -a system", "record -o x.hwt"])
def test_a_command_that_cannot_be_started_has_the_status_that_shells_give(heapwright, tmp_path, command):
    (tmp_path / "text").write_text("no program")
    for name, status, reason in (
        ("no-such-program", 127, "No such file or directory"),
        (tmp_path / "text", 126, "Permission denied"),
        (tmp_path, 126, "Permission denied"),
        (tmp_path / "text" / "x", 126, "Not a directory"),
    ):
        done = heapwright(*command.split(), "--", name, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (status, f"heapwright: cannot run {name}: {reason}\n")
    assert os.listdir(tmp_path) == ["text"]


def test_a_script_without_interpreter_is_the_shells(heapwright, tmp_path):
    script = tmp_path / "script"
    script.write_text("echo $1 && exit 5\n")
    script.chmod(0o755)
    done = heapwright("run", "-a", "system", "--", script, "hello")
    assert (done.returncode, done.stdout) == (5, "hello\n")


def test_a_program_for_another_processor_is_not_a_script(heapwright, compiled):
    program = damaged(compiled(PLAIN), 18, b"\xb7")
    assert heapwright("run", "-a", "system", "--", program).returncode == 126


def test_a_signal_without_a_name(heapwright):
    done = heapwright("run", "-a", "system", "--", "sh", "-c", "kill -40 $$")
    assert (done.returncode, done.stderr) == (128 + 40, "heapwright: sh was ended by signal 40\n")
