"""`heapwright simulate`, as a user calls it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from heapwright import cli
from heapwright.cli import commands
from heapwright.machine import DEFECTS, SEMANTICS

TINY = """\
from heapwright.collections import Box, drop
from heapwright.programs.user import println

def main(args):
    x = Box(1)
    y = Box(2)
    drop(x)
    println(f"{y}")
    return 0
"""
STEPS = """
#1 alloc(4, align 4) -> 0x{0:x}   Box<i32>, tiny.py:5
  rover: anchor
  anchor.next: 0x{1:x}
  anchor.units: 0
  Block.units at 0x{1:x}: 4,094
  Block.next at 0x{1:x}: anchor
  Block.units at 0x{2:x}: 2
  sbrk(65,536) -> 0x{1:x}
         ── page 0x{1:x}
 0x{1:x}  free      65,504  ░░░░░░░░░░░░   -> anchor; crosses 15 page boundaries from 0x{3:x}
0x{2:x}  used          32  ██             #1 Box<i32>, 4 bytes at 0x{0:x}
0x{4:x}  break
free list: rover -> anchor -> 0x{1:x} -> anchor
"""
HOLE = """\
            ── page 0x{1:x}
╭─  0x{1:x}  free      65,472  ░░░░░░░░░░░░   -> 0x{2:x}; crosses 15 page boundaries from 0x{3:x}
│  0x{5:x}  used          32  ██             #2 Box<i32>, 4 bytes at 0x{6:x}
╰▶ 0x{2:x}  free          32  ░░             -> anchor
   0x{4:x}  break
free list: rover -> 0x{1:x} -> 0x{2:x} -> anchor -> 0x{1:x}
2
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return str(path)


def simulate(*arguments):
    return CliRunner().invoke(commands.group, ["simulate", *map(str, arguments)])


def test_output_then_one_line():
    done = simulate("boxtest", "-a", "kr")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0::4] == ["Box value: 42", "All Box tests passed!"]
    assert done.stderr == (
        "[heapwright kr] boxtest: exit code 0, no leaks, 0 bytes live in 0 blocks, peak 40 bytes, heap 65,536 bytes, "
        "8 operations\n"
    )


def test_arguments_are_the_programs():
    assert simulate("looptest", "7").stdout == "7 boxes, 0 bytes more\n"


def test_leaks_are_told_and_exit_is_not_0(tiny):
    done = simulate("leaktest")
    assert done.exit_code == 3
    assert done.stderr.count("leaked: ") == 3 and "Box<i32>, 4 bytes at" in done.stderr
    Path(tiny).write_text(TINY.replace("return 0", "Box(3).leak(); return 0"))
    assert simulate(tiny).exit_code == 1


def test_a_fault_is_told_in_full(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(TINY.replace("drop(x)", "x.runtime.heap.dealloc(x.address)").replace("{y}", "{x}"))
    done = simulate(path, "-a", "kr")
    assert done.exit_code == 1
    assert "use after free: user load of 4 bytes" in done.stderr
    assert "allocated at bad.py:5, freed at bad.py:7" in done.stderr
    assert "a allocator's" in done.stderr and "killed by a fault" in done.stderr


def test_no_memory():
    done = simulate("vectest", "--sbrk-fails", 1)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1] == "memory allocation of 16 bytes failed"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["boxtst"], "did you mean 'boxtest'?"),
        (["nothing.hwt"], "no program is named"),
        (["none.py"], "there is no file none.py"),
        (["boxtest", "--frames", "3"], "too few frames"),
        (["boxtest", "-a", "krr"], "did you mean 'kr'?"),
        (["boxtest", "--step", "--json"], "choose one"),
        (["boxtest", "--defect", "S99"], "S99"),
    ],
    ids=str,
)
def test_wrong_use_is_one_line_and_exit_2(arguments, line, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["heapwright", "simulate", *arguments])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and line in error
    assert len([text for text in error.splitlines() if "heapwright:" in text or "Error:" in text]) == 1


def test_json():
    outcome = json.loads(simulate("leaktest", "--json", "-a", "kr").stdout)
    assert (outcome["program"], outcome["allocator"], outcome["exit_code"]) == ("leaktest", "kr", 3)
    assert sorted(len(leak["circle"]) for leak in outcome["leaks"]) == [0, 2, 2]
    assert outcome["live_blocks"] == 3 and outcome["stats"]["live_blocks"] is None  # kr counts bytes alone


def test_steps(tiny):
    done = simulate(tiny, "-a", "kr", "--step")
    start = int(done.stdout.split("sbrk(65,536) -> ")[1].split()[0], 16)
    end = start + 65536
    places = end - 16, start, end - 32, start + 4096, end, end - 64, end - 48
    assert done.stdout.startswith(STEPS.format(*places))
    assert HOLE.format(*places) in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "\x1b" not in done.stdout
    assert done.stdout.count("\n#") == 4 and "at the end of main" in done.stdout


@pytest.mark.parametrize("name", ["kr", "linked_list"])
@pytest.mark.parametrize(("program", "status"), [("vectest", 0), ("forktest", 0), ("leaktest", 3)])
def test_every_program_can_be_stepped(program, status, name):
    done = simulate(program, "-a", name, "--step")
    assert "free list: " in done.stdout
    assert done.exit_code == status


def test_what_will_not_compile_is_warned_of(tmp_path, root):
    path = tmp_path / "mine.py"
    text = (root / "examples" / "powers_of_two.py").read_text()
    path.write_text(text)
    assert "will not compile" not in simulate("boxtest", "-a", path).stderr
    path.write_text(f"{text}\n\ncount = 0\n" + "".join(f"list_{n} = []\n" for n in range(6)))
    done = simulate("boxtest", "-a", path)
    assert done.exit_code == 0 and "Box value: 42" in done.stdout
    warned = [line for line in done.stderr.splitlines() if "will not compile" in line]
    assert len(warned) == 5 and f"{path}:" in warned[0] and "D4: `count` is a module's own name" in warned[0]
    assert f"and 8 more: heapwright check {path} --only lint" in done.stderr
    assert "will not compile" in simulate("boxtest", "-a", f"locked({path})").stderr


def test_a_trace(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("1: malloc 0x10 100\n1: calloc 0x20 4 8\n1: realloc 0x30 0x10 200\n1: free 0x20\n")
    done = simulate(path, "-a", "kr")
    assert done.exit_code == 0, done.output
    assert "200 bytes live in 1 block" in done.stderr and "4 operations" in done.stderr
    assert "2 operations" in simulate(path, "-a", "kr", "--events", 2).stderr
    assert simulate(path, "--step").stdout.count("free list: ") == 4


@pytest.mark.parametrize("columns", [40, 80])
def test_help_explains_each_kernel_and_defect(columns):
    text = simulate_help(columns)
    for table in (DEFECTS, {name: kernel.what for name, kernel in SEMANTICS.items()}):
        for name, what in table.items():
            assert f" {name} {what} " in text, name


def simulate_help(columns):
    done = CliRunner().invoke(commands.group, ["simulate", "--help"], terminal_width=columns)
    lines = done.output.splitlines()
    assert max(map(len, lines[lines.index("Programs:") :])) <= columns
    return " ".join([*done.output.split(), ""])


def test_one_defect_is_one(tmp_path):
    path = tmp_path / "large.py"
    path.write_text(SHRINKING)
    assert simulate(path).exit_code == 3
    assert simulate(path, "--defect", "S3").exit_code == 4
    assert simulate(path, "--semantics", "xv6").exit_code == 4


SHRINKING = """\
from heapwright.collections import running

def main(args):
    return 3 if running().heap.user.sbrk(-1 << 30) == -1 else 4
"""
