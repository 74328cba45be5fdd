"""Real programs in the bench: what is measured of them, and what happens to those that are missing or fail."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from heapwright import elf
from heapwright.cli import bench as cli_bench
from heapwright.lab import program_list
from heapwright.lab.contestant import Contestant
from heapwright.lab.naming import contestant
from heapwright.lab.programs import InputError, PreparedProgram, Program
from heapwright.lab.sample import RunError
from heapwright.lab.share import Share, counted_in, malloc_code

MIB = 1 << 20
SYSTEM = Contestant("system", None)
KEEPS = """
import sys
held = bytearray(b"x") * (64 << 20)
print("done")
open("drained", "w").write("\\n")
sys.stdin.read()
"""
FREES = KEEPS.replace('print("done")', "del held")
WAITS = "import time\ntime.sleep(100)\n"


@pytest.fixture
def heapwright(heapwright):
    return partial(heapwright, "bench")


@pytest.fixture
def prepare(tmp_path):
    """Prepare a Python script as a program of the bench."""

    def prepared(text, name="script", **more):
        command = (sys.executable, "-I", "-S", "work.py")
        program = Program(
            name, (), "", command, lambda folder, scale: write(folder / "work.py", text), drains=True, **more
        )
        return PreparedProgram(program, tmp_path, 1.0)

    return prepared


def write(path, text):
    path.write_text(text)


# --- what is measured


@pytest.mark.long
def test_memory_is_read_after_a_drain_and_the_wait_is_not_the_programs(prepare):
    sample = prepare(KEEPS).run(SYSTEM, 60, repeat=0)
    assert set(sample.after) == {"1 s", "5 s"}
    assert all(64 * MIB <= resident < 128 * MIB for resident in sample.after.values())
    freed = prepare(FREES, "frees").run(SYSTEM, 60, repeat=0)
    assert all(resident < 64 * MIB <= freed.resident_bytes for resident in freed.after.values())


@pytest.mark.long
def test_only_the_first_repeat_waits(prepare):
    assert prepare(KEEPS).run(SYSTEM, 60, repeat=1).after == {}


@pytest.mark.long
def test_the_wait_does_not_count(prepare):
    began = time.monotonic()
    sample = prepare(KEEPS).run(SYSTEM, 60)
    assert sample.seconds <= time.monotonic() - began - 5


@pytest.mark.long
def test_the_kernels_work_is_told_apart(prepare):
    script = prepare("held = bytearray(b'x') * (64 << 20)")
    sample = script.run(SYSTEM, 60)
    assert sample.faults >= 64 * MIB / 4096 / 512, "even with huge pages"
    assert 0 <= sample.system_seconds <= sample.cpu_seconds
    assert set(sample.after) <= {"1 s", "5 s", "end"}


@pytest.mark.long
def test_the_programs_that_drain_are_looked_at(tmp_path):
    """Each program of the list that says that it drains does so, and ends after it."""
    for program in program_list.PROGRAMS:
        if program.drains and program.is_installed and program.name in ("perl", "lua", "sqlite"):
            sample = PreparedProgram(program, tmp_path, 0.01).run(SYSTEM, 60)
            assert set(sample.after) == {"1 s", "5 s"}, program.name


# --- what goes wrong


@pytest.mark.long
def test_a_program_that_prints_something_else_on_a_malloc_has_failed(prepare):
    script = prepare("import os; print(os.environ.get('MALLOC_TEST'))")
    script.run(SYSTEM, 60, repeat=1)
    with pytest.raises(RunError, match="printed something else than on system"):
        script.run(Contestant("other", None, (("MALLOC_TEST", "1"),)), 60, repeat=1)


@pytest.mark.long
def test_a_program_without_output_of_its_own_is_not_compared(prepare):
    script = prepare("import os; print(os.environ.get('MALLOC_TEST'))", repeats_its_output=False)
    script.run(SYSTEM, 60, repeat=1)
    script.run(Contestant("other", None, (("MALLOC_TEST", "1"),)), 60, repeat=1)


def test_a_program_that_dies_says_how(prepare):
    with pytest.raises(RunError, match="ended with status 1: ValueError: bad"):
        prepare("raise ValueError('bad')").run(SYSTEM, 60)


@pytest.mark.long
def test_missing_programs_are_one_line_with_the_command_that_installs_them(heapwright, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "lua5.4").symlink_to(shutil.which("true"))
    chosen = ("-a", "system", "--no-peers", "-w", "lua", "-w", "z3", "-w", "gcc", "--scale", 0.01, "-n", 1)
    done = heapwright(*chosen, PATH=str(folder))
    assert "heapwright: not installed: gcc, z3; on Debian: apt-get install gcc z3\n" in done.stderr
    assert "lua" in done.stdout


@pytest.mark.long
def test_a_bench_of_missing_programs_alone_is_refused(heapwright, tmp_path):
    done = heapwright("-a", "system", "--no-peers", "-w", "z3", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "heapwright: not installed: z3; on Debian: apt-get install z3\n"


def full(folder, scale):
    (folder / "half").write_text("half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.long
def test_a_full_disk_leaves_one_program_out_and_measures_the_rest(monkeypatch, tmp_path):
    python = program_list.PROGRAMS[0]
    broken = Program("broken", (), "", ("true",), full)
    monkeypatch.setattr(program_list, "PROGRAMS", (broken, python))
    output = tmp_path / "out.json"
    chosen = ["-a", "system", "--no-peers", "-w", "programs", "--scale", "0.001", "-n", "1", "-o", str(output)]
    done = CliRunner().invoke(cli_bench.command, chosen)
    assert done.exit_code == 1
    report = json.loads(output.read_text())
    assert [row["title"] for row in report["rows"]] == ["python"]
    [line] = report["failures"]
    assert line.startswith("no inputs for broken in /")
    assert line.endswith(": No space left on device")


def test_inputs_that_a_tool_cannot_make_are_one_line(tmp_path):
    def fails(folder, scale):
        subprocess.run(["sh", "-c", "echo no such thing >&2; exit 3"], check=True, capture_output=True)

    with pytest.raises(InputError, match="no inputs for tool: ended with status 3: no such thing"):
        PreparedProgram(Program("tool", (), "", ("true",), fails), tmp_path, 1.0)


@pytest.mark.long
def test_ctrl_c_ends_the_program_too(prepare):
    """The program lies in a session of its own, where a terminal's Ctrl-C does not reach it."""
    script = prepare(f"open('pid', 'w').write(str(__import__('os').getpid()))\n{WAITS}")
    pid = script.folder / "pid"
    main = threading.main_thread().ident

    def interrupt():
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        script.run(SYSTEM, 60)
    proc = Path("/proc", pid.read_text(), "stat")
    for _ in range(500):
        if not proc.exists() or proc.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the program runs on")


# --- malloc's share


LINES = """\
 sh 7/7: [0x7f0000001000(0x9000) @ 0x1000 fe:00 1 2]: r-xp /usr/lib/libc.so.6
      7     7f0000001010 (/usr/lib/libc.so.6)
      7     7f0000008000 (/usr/lib/libc.so.6)
      8     7f0000001010 (/usr/lib/libc.so.6)
      7 ffffffff81590daa ([kernel.kallsyms])
      7     7f0000100000 (/usr/lib/libmine.so)
""".splitlines()


def test_samples_in_a_malloc_are_counted(monkeypatch):
    monkeypatch.setattr("heapwright.lab.share.malloc_code", lambda path: range(0x1000, 0x2000))
    assert counted_in(LINES, None) == Share(5, 1), "the address counts, and process 8 has not said where its library is"
    assert counted_in(LINES, Path("/cache/libmine.so")) == Share(5, 1)
    assert Share(0, 0).part is None
    assert Share(5, 1).part == 0.2


def test_the_c_librarys_malloc_is_found_without_debug_symbols():
    path = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libc.so.6" in line)
    code = malloc_code(path)
    inside = {each.name for each in elf.functions(path) if each.address in code}
    assert {"malloc", "free", "calloc", "realloc", "malloc_trim"} <= inside
    assert not {"printf", "memcpy", "mtrace", "obstack_free"} & inside
    assert len(code) < 100_000


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("perf"), reason="perf is not installed")
def test_the_share_of_a_program_that_does_little_else(prepare):
    script = prepare("for i in range(40):\n  held = [bytes(600) for _ in range(30_000)]\n  del held")
    try:
        share = script.share(contestant("system"))
    except RunError as error:
        pytest.skip(f"perf does not work here: {error}")
    assert share.samples > 50
    assert 0.02 < share.part < 0.9
