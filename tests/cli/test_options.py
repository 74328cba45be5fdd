"""Options that do nothing are refused; so are numbers that are none, and places where nothing can be written."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from heapwright.cli import main
from heapwright.cli.commands import COMMANDS, group
from heapwright.errors import UserError
from heapwright.files import check_output

REP = "1\n2\n3\n132\na 0 100\na 1 32\nf 0\n"
TABLE = "8, 1, 2\n"

# What is given, and what is said; a row for each option that has no effect with another, or with its arguments.
# `rep` and `table` stand for a trace and a table, `out` for a place to write to.
REFUSED = {
    "simulate boxtest --events 5": "--events has no effect for a program: it applies to traces",
    "simulate rep 5": "a trace takes no arguments, such as '5'",
    "simulate boxtest --step --json": "--step and --json cannot be combined: choose one",
    "simulate boxtest --semantics xv6rs --defect S1": "--defect S1 has no effect with --semantics xv6rs, which has it",
    "simulate boxtest --semantics xv6 --defect S3": "--defect S3 has no effect with --semantics xv6, which has it",
    "run --json true": "--json needs --stats",
    "compare rep --json --memory": "--memory has no effect with --json, which always has these figures",
    "compare rep --json --map": "--map has no effect with --json, which has figures alone",
    "compare rep --samples 50": "--samples has no effect without --curves or --html",
    "compare rep --steps time": "--steps has no effect without --curves or --html",
    "compare rep --threads --curves": "--curves has no effect with --threads",
    "compare rep --threads --latency": "--latency has no effect with --threads",
    "compare rep --process all --html out.html": "a map is of one process: choose it with --process",
    "compare rep rep --map": "a map is of one process: give one trace",
    "compare rep --threads --jobs 2": "--jobs has no effect with --threads",
    "compare rep --threads --on dask://host:1": "--on has no effect with --threads",
    "compare rep --on dask://host:1 --jobs 2": "--jobs has no effect with --on: the cluster's workers decide",
    "compare rep --on tcp://host:1": "--on takes dask://HOST:PORT, the address of a Dask scheduler; not 'tcp://host:1'",
    "blame rep --limit 1M --at end": "--at has no effect with --limit, which stops at the first request that fails",
    "blame rep --by site": "--by site: the trace has no call sites; record them with --call-sites",
    "diverge rep -a kr": "two mallocs diverge: give -a twice",
    "advise --seed 5 -- true": "--seed has no effect without --tune",
    "advise --process 1 -- true": "--process has no effect on a program, which is run as it is",
    "advise --judge rep -- true": "--judge has no effect on a program, which is run as it is",
    "advise rep --load true": "--load has no effect on a recording, which is replayed",
    "advise rep --settle 1": "--settle has no effect on a recording, which is replayed",
    "inspect 1 --for 5s": "--for needs --every, which says how often to look",
    "report rep --html out.html --top 3": "--top has no effect with --html, whose page shows more",
    "report rep --html out.html --at end": "--at has no effect with --html, whose page shows more",
    "report rep --against rep --process all": "--against compares one process: choose it with --process",
    "convert rep out.hwt --balanced": "--balanced applies only to rep: add --to rep",
    "convert rep out.rep --measure requests": "--measure applies only to folded stacks: add --to folded",
    "convert rep out.rep --balanced --to hwt": "--balanced applies only to rep: add --to rep",
    "synthesize demo --allocs 5 -o out.hwt": "--allocs has no effect for demo: it applies to tables",
    "synthesize demo --live 5 -o out.hwt": "--live has no effect for demo: it applies to tables",
    "synthesize pairs --seed 5 -o out.hwt": "--seed has no effect for pairs, which is always the same",
    "synthesize vectors --seed 5 -o out.hwt": "--seed has no effect for vectors, which is always the same",
    "synthesize holes --seed 5 -o out.hwt": "--seed has no effect for holes, which is always the same",
    "synthesize ladder --seed 5 -o out.hwt": "--seed has no effect for ladder, which is always the same",
    "build kr --function malloc -o out": "--function shows assembler text: add --emit asm",
    "build kr --function malloc --emit llvm": "--function shows assembler text: add --emit asm",
    "build kr --emit asm --json": "say where to write the asm text: -o FILE",
    "build kr": "say where to write it: -o FILE",
    "check kr --list --mutation": "--mutation has no effect with --list",
    "check kr --list --exhaustive 3": "--exhaustive has no effect with --list",
    "check kr --list --seconds 3": "--seconds has no effect with --list",
    "check kr --mutation --exhaustive 3": "--exhaustive has no effect with --mutation",
    "check kr --mutation --only U1": "--only has no effect with --mutation",
    "check kr --mutation --quick": "--quick has no effect with --mutation",
    "check kr --exhaustive 3 --only U1": "--only has no effect with --exhaustive",
    "check kr --exhaustive 3 --quick": "--quick has no effect with --exhaustive",
    "check kr --seconds 3": "--seconds has no effect without --mutation or --exhaustive",
    "grade rep": "rep: expected an allocator in Python (FILE.py or FOLDER/), or mm.c of a malloc lab",
    "grade mm.c --forgive sized": "--forgive sized: there is no such check; did you mean 'sizes'?",
    "grade mm.c --advice": "--advice has no effect for a C file",
    "grade mm.c --alignment 24": "'24' is not one of '8', '16'",
    "grade mm.c --traces none": "Path 'none' does not exist",
    "bench --list -a kr": "--allocator has no effect with --list",
    "bench --list --against x=y": "--against has no effect with --list",
    "bench --list --no-peers": "--peers has no effect with --list",
    "bench --list -w lifo": "--workload has no effect with --list",
    "bench --list --threads 1": "--threads has no effect with --list",
    "bench --list --processes": "--processes has no effect with --list",
    "bench --list -n 1": "--repeats has no effect with --list",
    "bench --list --clock cpu": "--clock has no effect with --list",
    "bench --list --quick": "--quick has no effect with --list",
    "bench --list --json": "--json has no effect with --list",
    "bench --list -o out": "--output has no effect with --list",
    "bench --list --share": "--share has no effect with --list",
    "bench --list --show system": "--show has no effect with --list",
    "bench --list --page out": "--page has no effect with --list",
    "bench --list --from old": "--from has no effect with --list",
    "bench --from old -a kr": "--allocator has no effect with --from",
    "bench --from old --share": "--share has no effect with --from",
    "bench -a kr -w lifo --threads 2": "--threads has no effect for workloads without threads",
    "bench -a kr -w lifo --processes": "--processes has no effect for workloads without threads",
    "bench -a kr -w thrash --threads 1 --processes": "--processes has no effect if no workload has several threads",
    "bench -a kr -w producer_consumer --threads 1": "no chosen workload runs with --threads 1",
}
NO_NUMBERS = {
    "synthesize table --live nan -o out.hwt": "'nan' is not a number",
    "synthesize table --live inf -o out.hwt": "inf is not in the range",
    "synthesize table --live 0 -o out.hwt": "0.0 is not in the range",
    "synthesize table --allocs 99999999999999 -o out.hwt": "is not in the range",
    "synthesize demo --seed -1 -o out.hwt": "-1 is not in the range",
    "grade mm.c --utilization nan": "'nan' is not a number",
    "grade mm.c --utilization 101": "101.0 is not in the range",
    "grade mm.c --seconds 0": "0.0 is not in the range",
    "grade mm.c -n 0": "0 is not in the range",
    "bench --scale nan": "'nan' is not a number",
    "check kr --mutation --seconds nan": "'nan' is not a number",
    "bench --threads 1,x": "--threads takes numbers from 1 to",
    "compare rep -n 0": "0 is not in the range",
    "compare rep --jobs 0": "0 is not in the range",
    "simulate boxtest --frames 0": "0 is not in the range",
    "simulate boxtest --sbrk-fails 0": "0 is not in the range",
}
NO_PLACES = (
    "record -o {} -- touch ran",
    "convert rep {} --to rep",
    "report rep --html {}",
    "synthesize demo -o {}",
    "build kr -o {}",
    "build kr --emit asm -o {}",
    "bench -a kr -o {}",
)


@pytest.fixture
def called(monkeypatch, capsys, tmp_path):
    """Call the entry point, in a folder with a trace and a table; its status, and what it said."""
    (tmp_path / "rep").write_text(REP)
    (tmp_path / "table.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["heapwright", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, capsys.readouterr()

    return run


@pytest.fixture
def one_line(called, tmp_path):
    """Call what must be refused, which must leave nothing; its line."""

    def run(line):
        status, said = called(*("table.csv" if word == "table" else word for word in line.split()))
        assert (status, said.out, said.err.count("\n")) == (2, "", 1), said
        assert sorted(os.listdir(tmp_path)) == ["rep", "table.csv"]
        return said.err.rstrip()

    return run


@pytest.mark.parametrize("line", REFUSED)
def test_an_option_that_does_nothing_is_refused(one_line, line):
    said = one_line(line)
    assert REFUSED[line] in said
    if "; see `" in said:
        assert said.endswith(f"; see `heapwright {line.split()[0]} --help`")


@pytest.mark.parametrize("line", NO_NUMBERS)
def test_what_is_no_number_is_refused(one_line, line):
    assert NO_NUMBERS[line] in one_line(line)


@pytest.mark.parametrize("line", NO_PLACES)
@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("-", "'-' names no file"),
        ("/dev/full", "/dev/full: cannot be written: it is not a regular file"),
        ("/nowhere/x.hwt", "there is no folder /nowhere to write x.hwt to"),
        ("rep/x.hwt", "there is no folder "),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_before_any_work(one_line, line, place, complaint):
    assert complaint in one_line(line.format(place))


def test_a_trace_that_was_forgotten_is_missed(one_line):
    assert "'--' names no file" in one_line("record -o -- ls")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        check_output(tmp_path / "x")


def test_a_circle_of_links_is_no_place(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="cannot be written"):
        check_output(tmp_path / "a")


def test_every_option_is_in_the_table_or_always_does_something():
    """A new option must be thought about: beside which others, and for which arguments, does it do nothing?"""
    always = {
        "simulate": {"allocator", "frames", "page", "semantics", "sbrk_fails", "script"},
        "run": {"allocator", "stats"},
        "record": {"output", "depth", "sample", "control", "budget"},
        "attach": {"output", "depth", "seconds", "budget", "sample"},
        "control": set(),  # a group
        "compare": {"allocators", "repeats", "process", "latency", "as_json"},
        "advise": {"allocators", "goal", "repeats", "rounds", "tune", "timeout", "today", "allow", "html", "as_json"},
        "smallest": {"allocators", "process", "as_json"},
        "blame": {"allocators", "process", "top", "as_json"},
        "diverge": {"process", "as_json"},
        "report": {"process", "temporary", "all_frames", "as_json"},
        "convert": {"to"},
        "trace": set(),  # a group; its commands have the options
        "synthesize": {"output"},
        "build": {"output", "emit", "header", "crate"},
        "bench": {"is_list"},
        "allocators": {"as_json"},
        "doctor": {"quick", "as_json"},
        "inspect": {"every", "since", "leaks", "show", "with_map", "no_pause", "swapped", "as_json"},
        "grade": {"against", "seed", "as_json"},
        "check": {"as_json", "stops", "seed", "save"},
    }
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        options = [each for each in command.params if isinstance(each, click.Option)]
        lines = [line.split() for line in (*REFUSED, *NO_NUMBERS) if line.split()[0] == name]
        tried = {word for line in lines for word in line}
        untried = {each.name for each in options if not tried & {*each.opts, *each.secondary_opts}}
        assert untried <= always[name], f"{name}: {untried - always[name]}"


# --- standard streams that are closed, and names that are no text

PRINTING = ("allocators", "allocators kr", "allocators --json", "doctor --quick", "--help", "simulate boxtest --step")
CLOSED = "import os, sys; os.close({}); os.execv(sys.executable, [sys.executable, '-m', 'heapwright', *sys.argv[1:]])"


def run_closed(number, *arguments):
    command = [sys.executable, "-c", CLOSED.format(number), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.parametrize("line", PRINTING)
def test_a_closed_output_is_one_line(line):
    done = run_closed(1, *line.split())
    assert (done.returncode, done.stderr) == (2, "heapwright: standard output: it is closed\n")


def test_a_command_that_prints_nothing_needs_no_output(tmp_path):
    done = run_closed(1, "synthesize", "pairs", "-o", str(tmp_path / "x.hwt"))
    assert done.returncode == 0
    done = run_closed(1, "run", "-a", "system", "--", "sh", "-c", "echo x 2>/dev/null || exit 5")
    assert done.returncode == 5, "the program's output is closed, too"


@pytest.mark.parametrize(("line", "status"), [("allocators", 0), ("compare nowhere", 2), ("convert rep out.hwt", 0)])
def test_closed_errors_are_no_error(tmp_path, monkeypatch, line, status):
    (tmp_path / "rep").write_text(REP)
    monkeypatch.chdir(tmp_path)
    done = run_closed(2, *line.split())
    assert (done.returncode, done.stderr) == (status, "")
    assert bool(done.stdout) == (line == "allocators")


def test_no_file_takes_the_number_of_a_closed_stream(heapwright, tmp_path):
    """The program's own output must not end up in the recording."""
    done = run_closed(1, "record", "-o", str(tmp_path / "x.hwt"), "--", "sh", "-c", "echo written; ls / >&2")
    assert "written" not in done.stderr
    assert heapwright("compare", tmp_path / "x.hwt", "-a", "system", "-n", "1").returncode == 0


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b"a\tb", b"[bold]x", b"-x"])
def test_a_file_may_have_any_name(called, tmp_path, name):
    trace = os.fsdecode(name) + ".rep"
    os.rename(tmp_path / "rep", tmp_path / trace)
    for command in ("compare -a system -n 1", "compare -a system -n 1 --json", "simulate -a kr"):
        status, said = called(*command.split(), "--", trace)
        assert status == 0, said.err
    assert called("convert", "--to", "hwt", "--", trace, f"./{trace}2")[0] == 0
    assert sorted(os.listdir(tmp_path)) == sorted([trace, f"{trace}2", "table.csv"])


@pytest.mark.parametrize("name", [b"\xff.hwt", b"a\nb", b"\x1b[31mred"])
@pytest.mark.parametrize("command", ["compare", "simulate", "allocators", "check"])
def test_a_name_that_is_not_there_is_told_in_one_line(called, name, command):
    status, said = called(command, os.fsdecode(name))
    assert status == 2
    assert len(said.err.splitlines()) == 1 and "\x1b" not in said.err


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem"])
@pytest.mark.parametrize(
    "command", ["compare", "simulate", "convert {} out.hwt", "allocators", "check", "run -a {} true"]
)
def test_a_device_is_no_input(refused, command, path):
    if not os.path.exists(path):
        pytest.skip(f"there is no {path}")
    assert (
        path in refused(*(f"{command} {{}}" if "{}" not in command else command).format(path).split()) or "mem" in path
    )


def test_a_terminal_that_takes_only_ascii(heapwright):
    for line in ("allocators", "simulate boxtest -a kr --step"):
        done = heapwright(*line.split(), PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()


def test_without_arguments_the_help_is_shown(called):
    status, said = called()
    assert status == 0 and "Commands:" in said.out
