"""The bench at a tiny scale: everything runs and is reported. What it measures is nobody's business here."""

from __future__ import annotations

import json
import subprocess
from functools import partial

import pytest

from heapwright.lab.bench import bench
from heapwright.lab.bench_figures import failures, figures, geometric_mean, means, scaling, unstable
from heapwright.lab.compare import contestant
from heapwright.lab.distributions import DISTRIBUTIONS
from heapwright.lab.programs import PROGRAMS, PreparedProgram
from heapwright.lab.replay import Contestant
from heapwright.lab.sample import RunError, Sample
from heapwright.lab.workloads import WORKLOADS, expand
from heapwright.native.bench_job import DRAWS, MOST_ROWS

TINY = 0.0002
ROWS = expand(WORKLOADS, (1, 2), TINY)


@pytest.fixture
def heapwright(heapwright):
    return partial(heapwright, "bench")


@pytest.mark.parametrize("malloc", ["system", "kr"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title.replace(" ", "_"))
def test_a_workload_runs(row, malloc):
    sample = row.run(contestant(malloc), 30)
    assert sample.operations > 0
    assert sample.seconds > 0
    assert sample.resident_bytes >= 0


@pytest.mark.parametrize("malloc", ["system", "kr"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_runs(program, malloc, tmp_path):
    if not program.is_installed:
        pytest.skip(f"one of {', '.join(program.needs)} is not installed")
    sample = PreparedProgram(program, tmp_path, 0.01).run(contestant(malloc), 60)
    assert sample.cpu_seconds > 0
    assert sample.resident_bytes > 0
    assert sample.resident_bytes < 1 << 28, "the launcher's own memory must not count"


def test_a_producer_is_never_without_a_consumer():
    assert {row.threads for row in ROWS if row.name == "producer_consumer"} == {2}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_fills_its_draws(name):
    steps = DISTRIBUTIONS[name]
    assert sum(step.calls for step in steps) == DRAWS
    assert len(steps) <= MOST_ROWS
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
        return Contestant(name, library, is_ours=False)

    return build


NO_MEMORY = "void *malloc(unsigned long n) { return 0; }"
DIES = "#include <stdlib.h>\nvoid *malloc(unsigned long n) { abort(); }"
SHARED = (
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
        (("--against", "mine.so"), "NAME=LIB.so"),
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

    def __init__(self, title, threads, samples):
        self.name, self.title, self.group, self.threads = "row", title, "group", threads
        self.samples = {name: iter(each) for name, each in samples.items()}

    def parameters(self):
        return {}

    def run(self, malloc, timeout):
        return next(self.samples[malloc.name])


def mallocs(*names):
    return [Contestant(name, None, is_ours=False) for name in names]


def samples(*seconds, operations=100):
    return [Sample(each, 2 * each, 1 << 21, operations) for each in seconds]


def test_ratios_are_of_medians():
    row = Row("row", 0, {"system": samples(1, 2, 9), "other": samples(3, 1, 1)})
    [found] = figures(bench([row], mallocs("system", "other"), 3, lambda line: None), "wall")
    assert found["results"]["system"]["seconds"] == 2
    assert found["results"]["other"]["time_ratio"] == 0.5
    assert found["results"]["other"]["resident_ratio"] == 1
    assert [line.partition(" (")[0] for line in unstable([found])] == ["row on system", "row on other"]


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
