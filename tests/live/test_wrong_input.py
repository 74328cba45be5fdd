"""Wrong input is one clear line: walls that are real, programs that end, cores that lack something, damaged heaps."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import glibc_image
import pytest

import heapwright.live.look as look_module
from heapwright.lab.inspect import inspect
from heapwright.live.core import Core
from heapwright.live.errors import InspectError
from heapwright.live.look import look_at
from heapwright.live.pause import Pauses
from heapwright.live.process import Process
from heapwright.live.report import report_of

pytestmark = pytest.mark.long

SOURCE = Path(__file__).parent / "programs" / "shapes.c"


@pytest.fixture
def shapes(compiled):
    def make(*flags):
        return compiled("shapes.c", SOURCE.read_text(), "-pthread", *flags, "-ldl")

    return make


@pytest.fixture
def core(tmp_path):
    """Dump a core of a process."""
    if not shutil.which("gcore"):
        pytest.skip("gcore is not installed (Debian: gdb)")

    def dump(pid, coredump_filter=None):
        if coredump_filter:
            Path(f"/proc/{pid}/coredump_filter").write_text(coredump_filter)
        subprocess.run(["gcore", "-o", tmp_path / "core", str(pid)], capture_output=True, check=True, cwd=tmp_path)
        return tmp_path / f"core.{pid}"

    return dump


# --- a reader without rights

FILTER = """
import ctypes, struct, sys
import heapwright.cli.inspect, heapwright.lab.inspect, heapwright.pictures.memory
from heapwright.cli import main
READV, ALLOW, EPERM = 310, 0x7FFF0000, 0x00050001
program = struct.pack("<HBBI", 0x20, 0, 0, 0) + struct.pack("<HBBI", 0x15, 0, 1, READV)
program += struct.pack("<HBBI", 0x06, 0, 0, EPERM) + struct.pack("<HBBI", 0x06, 0, 0, ALLOW)
buffer = ctypes.create_string_buffer(program)
record = struct.pack("<HxxxxxxQ", 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(record), 0, 0) == 0, ctypes.get_errno()
sys.argv = ["heapwright", "inspect", sys.argv[1]]
main()
"""


def test_a_seccomp_filter_is_named(program, shapes):
    """As in a container whose runtime forbids process_vm_readv."""
    running = program(shapes(), "holes")
    command = [sys.executable, "-c", FILTER, str(running.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "AssertionError" in done.stderr:
        pytest.skip("this kernel has no seccomp filters")
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert "may not be read: a seccomp filter" in line and "--cap-add=SYS_PTRACE" in line


# --- a program that ends


@pytest.mark.parametrize("moment", ["before", "under the pause", "before the pause"])
def test_a_program_that_ends_meanwhile(moment, program, shapes, monkeypatch):
    running = program(shapes(), "threads")
    source = Process(running.pid)

    def end(*_):
        running.process.kill()
        while state_of(running.pid) not in ("Z", "X", ""):  # nobody can wait for it while it is traced
            time.sleep(0.01)
        return ()

    if moment == "before":
        end()
    elif moment == "under the pause":
        monkeypatch.setattr("heapwright.live.pause.registers_of", end)
    else:
        copy_all = look_module.copy_all
        monkeypatch.setattr(look_module, "copy_all", lambda *arguments: [end(), copy_all(*arguments)][1])
    with pytest.raises(InspectError, match="ended while it was inspected"):
        look_at(source)


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_pause_of_threads_that_end_meanwhile_lets_go(program, shapes):
    running = program(shapes(), "threads")
    pauses = Pauses(Process(running.pid))
    with pauses.paused():
        running.process.kill()
    assert running.process.wait() == -9
    assert pauses.count == 1


# --- programs without names


@pytest.mark.parametrize("flags", [("-s",), ("-static",), ("-static", "-s")])
def test_stripped_and_static_programs(flags, program, shapes):
    try:
        made = shapes(*flags)
    except subprocess.CalledProcessError:
        pytest.skip("a static C library is not installed")
    running = program(made, "threads")
    look = inspect(running.pid)
    system, free, *_ = map(int, running.ask("info").split())
    assert sum(arena.system_bytes for arena in look.arenas) == system
    assert abs(sum(arena.free_bytes for arena in look.arenas) - free) <= 16 * len(look.arenas)
    assert look.allocator == "glibc" and not look.damage


# --- cores


def test_a_core_without_private_memory_says_so(program, shapes, core, heapwright):
    path = core(program(shapes(), "threads").pid, "0x00")
    done = heapwright("inspect", path)
    assert done.returncode == 0
    assert "no heap in it could be read" in done.stdout
    assert "note: the core file leaves out" in done.stdout and "coredump_filter" in done.stdout


def test_a_core_that_is_whole_has_no_such_note(program, shapes, core):
    assert not report_of(inspect(core(program(shapes(), "holes").pid)))["notes"]


def test_a_core_of_a_program_that_is_another_one_by_now(program, shapes, core, tmp_path):
    """The file under the program's path is not the one that ran: its build id says so, and it is not read."""
    made = shapes()
    running = program(made, "threads")
    path, live = core(running.pid), report_of(inspect(running.pid))
    made.unlink()
    shutil.copy(shutil.which("true"), made)
    found = Core(path)
    mapping = next(each for each in found.mappings if each.path == str(made))
    assert found.file_of(mapping) is None
    dead = report_of(look_at(found))
    assert dead["parts"]["live"] == live["table"]["live"]["virtual"]
    made.unlink()
    assert report_of(inspect(path))["parts"]["live"] == dead["parts"]["live"]


@pytest.mark.parametrize("size", [1, 63, 64, 100, 1000, 5000, 70000])
def test_a_core_that_is_cut_anywhere(size, program, shapes, core, heapwright):
    path = core(program(shapes(), "holes").pid)
    os.truncate(path, size)
    done = heapwright("inspect", path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "is truncated" in done.stderr or "cut short" in done.stderr or "is not an ELF file" in done.stderr


# --- damaged heaps


@pytest.mark.parametrize("version", glibc_image.VERSIONS)
def test_random_damage_never_ends_a_look(version):
    """Words of records, chunks and links are overwritten; whatever is told then, it is told."""
    places = ((glibc_image.DATA, 0x4000), (glibc_image.BREAK, 0x3000), (glibc_image.SEGMENT, 0x3000))
    seen = 0
    for seed in range(30):
        source, rng = glibc_image.image_of(version), random.Random(100 * seed + version)
        for _ in range(rng.randrange(1, 6)):
            base, size = rng.choice(places)
            at = base + 8 * rng.randrange(size // 8)
            values = (
                0,
                1,
                2**64 - 1,
                2**63,
                rng.getrandbits(64),
                rng.getrandbits(16),
                base + 16 * rng.randrange(size // 16),
            )
            source.write(at, "Q", rng.choice([*values, base + 16 * rng.randrange(size // 16)]))
        found = report_of(look_at(source))
        assert sum(row["resident"] for row in found["table"].values()) == found["resident_bytes"]
        seen += bool(found["damage"])
    assert seen
