"""The bench at a tiny scale: everything runs and is reported. What it measures is nobody's business here."""

from __future__ import annotations

import json
import subprocess
from functools import partial

import pytest
from click.testing import CliRunner

from heapwright.cli import bench as cli_bench
from heapwright.lab import bench as lab_bench
from heapwright.lab import workloads
from heapwright.lab.bench import empty_table
from heapwright.lab.bench_figures import failures, figures, geometric_mean, means, scaling, unstable
from heapwright.lab.contestant import Contestant
from heapwright.lab.distributions import DISTRIBUTIONS
from heapwright.lab.jobs import job_file
from heapwright.lab.naming import contestant
from heapwright.lab.program_list import PROGRAMS
from heapwright.lab.programs import PreparedProgram
from heapwright.lab.sample import RunError, Sample, spread
from heapwright.lab.workloads import WORKLOADS, apart, expand
from heapwright.native.jobs.bench_job import DRAWS, MAX_ROWS, Job

TINY = 0.0002
ROWS = expand(WORKLOADS, (1, 2), TINY)
ROWS += apart(ROWS)


@pytest.fixture
def heapwright(heapwright):
    return partial(heapwright, "bench")


def bench(rows, contestants, repeats, progress):
    table = empty_table(rows, contestants)
    lab_bench.bench(table, contestants, repeats, progress)
    return table


@pytest.mark.parametrize("malloc", ["system", "kr"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title.replace(" ", "_"))
def test_a_workload_runs(row, malloc):
    sample = row.run(contestant(malloc), 30)
    assert sample.operations > 0
    assert sample.seconds > 0
    assert sample.resident_bytes >= 0


@pytest.mark.long
@pytest.mark.parametrize("malloc", ["system", "kr"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_runs(program, malloc, tmp_path):
    if not program.is_installed:
        pytest.skip(f"one of {', '.join(program.needs)} is not installed")
    sample = PreparedProgram(program, tmp_path, 0.01).run(contestant(malloc), 60, repeat=1)
    assert sample.cpu_seconds > 0
    assert sample.resident_bytes > 0
    assert sample.resident_bytes < 1 << 28, "the launcher's own memory must not count"


def test_a_producer_is_never_without_a_consumer():
    assert {row.threads for row in ROWS if row.name == "producer_consumer"} == {2}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_fills_its_draws(name):
    steps = DISTRIBUTIONS[name]
    assert sum(step.calls for step in steps) == DRAWS
    assert len(steps) <= MAX_ROWS
    assert all(step.size >= 8 and step.blocks > 0 for step in steps)
    assert [step.size for step in steps] == sorted(step.size for step in steps)


# --- what goes wrong


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Build a malloc that does what its C text says; the contestant."""
    folder = tmp_path_factory.mktemp("broken")

    def build(name, text):
        source, library = folder / f"{name}.c", folder / f"{name}.so"
        source.write_text(text)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        return Contestant(name, library)

    return build


REST = "void *calloc(unsigned long n, unsigned long m) { return 0; }\n"
REST += "void *realloc(void *p, unsigned long n) { return 0; }\n"
NO_MEMORY = REST + "void *malloc(unsigned long n) { return 0; }\nvoid free(void *p) {}"
DIES = "#include <stdlib.h>\n" + REST + "void *malloc(unsigned long n) { abort(); }\nvoid free(void *p) {}"
SHARED = REST + (
    "static long block[1024];\nvoid *malloc(unsigned long n) { return block; }\nvoid free(void *p) { block[0] = 1; }"
)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("null", NO_MEMORY, "malloc returned null"),
        ("dies", DIES, "ended by SIGABRT"),
        ("same", SHARED, "a live block's contents changed"),
    ],
)
def test_a_death_is_one_line_and_the_rest_goes_on(broken, name, text, said):
    fifo = next(row for row in ROWS if row.name == "fifo")
    table = bench([fifo], [contestant("system"), broken(name, text)], 2, lambda line: None)
    rows = figures(table, "wall")
    assert failures(rows) == [f"fifo on {name}: {said}"]
    assert len(rows[0]["results"]["system"]["wall"]) == 2
    assert rows[0]["results"][name] == {"error": said}
    assert means(rows)[name]["all"] == {"time": None, "resident": None, "rows": 0, "of": 1}


def test_a_death_is_exit_status_1(heapwright, broken, tmp_path):
    library = broken("dies2", DIES).library
    done = heapwright("-a", "kr", "--no-peers", "--against", f"dies={library}", "-w", "fifo", "--scale", TINY, "-n", 1)
    assert done.returncode == 1
    assert "fifo on dies: ended by SIGABRT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_hangs_is_ended(tmp_path):
    program = next(each for each in PROGRAMS if each.name == "python")
    prepared = PreparedProgram(program, tmp_path, 0.01)
    (prepared.folder / "work.py").write_text("while True: pass")
    with pytest.raises(RunError, match="did not end within 1 s"):
        prepared.run(contestant("system"), 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-w", "pairs16"), "no workload is named 'pairs16': did you mean 'pairs_16'?"),
        (("-a", "krr"), "did you mean 'kr'?"),
        (("--threads", "0"), "--threads"),
        (("--threads", "two"), "--threads"),
        (("--against", "mine.so"), "there is no library mine.so"),
        (("--against", "libm=/lib/x86_64-linux-gnu/libm.so.6"), "libm: a process gets malloc from /"),
        (("--against", "mine=/nowhere/mine.so"), "there is no library /nowhere/mine.so"),
        (("-a", "kr", "--against", "kr=/usr/bin/env"), "two mallocs are named 'kr'"),
        (("-o", "/nowhere/at/all.json"), "there is no folder /nowhere/at"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(heapwright, arguments, said):
    done = heapwright("--no-peers", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# --- what is reported


def test_the_json_holds_every_raw_number(heapwright, tmp_path):
    output = tmp_path / "numbers.json"
    chosen = ("-a", "kr", "--no-peers", "-w", "thrash", "-w", "fifo", "--scale", TINY, "-n", 2, "--json")
    done = heapwright(*chosen, "-o", output)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert json.loads(output.read_text()) == report
    assert set(report["machine"]) == {"cpu", "cores", "kernel", "libc", "load"}
    assert not report["interrupted"]
    assert report["allocators"]["system"] is None
    assert [row["title"] for row in report["rows"]] == ["fifo", "thrash x1", "thrash x2"]
    for row in report["rows"]:
        assert set(row["results"]) == {"system", "kr"}
        for result in row["results"].values():
            assert len(result["wall"]) == len(result["cpu"]) == len(result["resident"]) == 2
            assert result["time_ratio"] > 0
    assert set(report["means"]["kr"]) == {"alone", "threads", "all"}
    assert "thrash x2" in report["scaling"]["kr"]


def test_the_list_names_what_can_be_chosen(heapwright):
    done = heapwright("--list")
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()] == [each.name for each in (*WORKLOADS, *PROGRAMS)]


def test_the_table_names_every_row(heapwright):
    done = heapwright("-a", "kr", "--no-peers", "-w", "fifo", "--scale", TINY, "-n", 1)
    assert done.returncode == 0, done.stderr
    assert "geometric mean" in done.stdout
    assert "fifo" in done.stdout


class Row:
    """A row whose samples are given."""

    timeout = 30.0

    def __init__(self, title, threads, samples):
        self.name, self.title, self.group, self.threads = "row", title, "group", threads
        self.samples = {name: iter(each) for name, each in samples.items()}

    def parameters(self):
        return {}

    def run(self, malloc, timeout, repeat):
        return next(self.samples[malloc.name])


def mallocs(*names):
    return [Contestant(name, None) for name in names]


def samples(*seconds, operations=100):
    return [Sample(each, 2 * each, 1 << 21, operations, operations / each) for each in seconds]


def test_ratios_are_of_medians():
    row = Row("row", 0, {"system": samples(1, 2, 9), "other": samples(3, 1, 1)})
    [found] = figures(bench([row], mallocs("system", "other"), 3, lambda line: None), "wall")
    assert found["results"]["system"]["seconds"] == 2
    assert found["results"]["other"]["time_ratio"] == 0.5
    assert found["results"]["other"]["resident_ratio"] == 1
    assert [line.partition(" (")[0] for line in unstable([found])] == ["row on system", "row on other"]


def test_spread_is_between_the_quartiles():
    assert spread([1, 2, 3, 4, 5]) == 2 / 3
    assert spread([10, 10, 10, 10, 10, 10, 99]) == 0, "one disturbed repeat of seven"
    assert spread([1, 2, 9]) == 2
    assert spread([4]) is None


def test_a_cell_of_one_repeat_is_not_called_unstable():
    found = figures(bench([Row("row", 0, {"system": samples(1)})], mallocs("system"), 1, lambda line: None), "wall")
    assert found[0]["results"]["system"]["spread"] is None
    assert unstable(found) == []


def test_throughput_is_the_sum_of_what_each_thread_did_in_its_own_time():
    with job_file(Job) as (_, job):
        job.is_done, job.threads = 1, 2
        for i, seconds in enumerate((1, 4)):
            worker = job.workers[i]
            worker.began, worker.ended, worker.operations = 10**9, (1 + seconds) * 10**9, 100
        sample = workloads.read(job)
    assert (sample.throughput, sample.seconds, sample.operations) == (125, 4, 200)


def test_a_process_for_each_thread_does_what_the_threads_do():
    names = [row.name for row in ROWS if row.group == "threads" and row.threads == 2 and row.multiple_of == 1]
    assert [row.title for row in ROWS if row.group == "processes"] == [f"{name} in 2" for name in names]
    threads, processes = (row for row in ROWS if row.name == "thrash" and row.threads == 2)
    together, apart = (row.run(contestant("system"), 30) for row in (threads, processes))
    assert apart.operations == together.operations


def test_each_repeat_begins_on_another_core(monkeypatch):
    monkeypatch.setattr(workloads.os, "sched_getaffinity", lambda process: {3, 5, 8})
    first = []
    for repeat in range(4):
        with job_file(Job) as (_, job):
            workloads.write(job, WORKLOADS[-1].with_threads(2), repeat)
            first.append((job.workers[0].core, job.workers[1].core))
    assert first == [(3, 5), (5, 8), (8, 3), (3, 5)]


# --- what is not lost


class Interrupted(Row):
    """Interrupts the bench once its samples are used up."""

    def run(self, malloc, timeout, repeat):
        try:
            return super().run(malloc, timeout, repeat)
        except StopIteration:
            raise KeyboardInterrupt from None


def test_what_was_measured_survives_an_interruption():
    rows = [
        Interrupted("a", 0, {"system": samples(1), "x": samples(2)}),
        Interrupted("b", 0, {"system": samples(5), "x": samples()}),
    ]
    table = empty_table(rows, mallocs("system", "x"))
    with pytest.raises(KeyboardInterrupt):
        lab_bench.bench(table, mallocs("system", "x"), 1, lambda line: None)
    [a, b] = figures(table, "wall")
    assert a["results"]["x"]["time_ratio"] == 2
    assert b["results"]["system"]["wall"] == [5]
    assert b["results"]["x"] == {"error": "not run"}
    assert failures([a, b]) == []


def test_an_interruption_shows_and_writes_what_there_is(monkeypatch, tmp_path):
    runs, output = [], tmp_path / "part.json"

    def run(*arguments):
        runs.append(arguments)
        if len(runs) > 5:
            raise KeyboardInterrupt
        return Sample(1, 2, 1 << 21, 100)

    monkeypatch.setattr(workloads, "run", run)
    chosen = ["-a", "kr", "--no-peers", "-w", "fifo", "-w", "lifo", "-n", "9", "-o", str(output)]
    done = CliRunner().invoke(cli_bench.command, chosen)
    assert done.exit_code == 130
    assert "heapwright: interrupted" in done.output
    assert "geometric mean" in done.output
    report = json.loads(output.read_text())
    assert report["interrupted"]
    assert report["failures"] == []
    assert [len(result["wall"]) for row in report["rows"] for result in row["results"].values()] == [1, 2, 1, 1]


def test_a_file_that_cannot_be_written_is_one_line_and_the_numbers_are_printed(monkeypatch, tmp_path):
    monkeypatch.setattr(cli_bench, "check_output", lambda output: None)  # as if the folder went later
    chosen = ["-a", "kr", "--no-peers", "-w", "fifo", "--scale", str(TINY), "-n", "1", "-o", str(tmp_path / "no" / "a")]
    done = CliRunner().invoke(cli_bench.command, chosen)
    assert done.exit_code == 2
    assert [line for line in done.output.splitlines() if line.startswith("heapwright: there is no folder")]
    assert "geometric mean" in done.output
    assert '"rows": [' in done.output


def test_scaling_is_of_throughput():
    rows = [
        Row("row x1", 1, {"system": samples(1)}),
        Row("row x2", 2, {"system": samples(1.25, operations=200)}),
    ]
    table = figures(bench(rows, mallocs("system"), 1, lambda line: None), "wall")
    assert scaling(table) == {"system": {"row x2": 1.6}}


def test_the_geometric_mean():
    assert geometric_mean([0.5, 2]) == 1
    assert geometric_mean([]) is None


def test_the_allocators_take_turns():
    order = []
    row = Row("row", 0, {name: samples(1, 1) for name in "abc"})
    bench([row], mallocs("a", "b", "c"), 2, lambda line: order.append(line[-1]))
    assert "".join(order) == "abcbca"
