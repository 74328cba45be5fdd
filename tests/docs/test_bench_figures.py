"""The figures in bench/README.md are those of the results beside it."""

import json
import math
from pathlib import Path
from statistics import median

import pytest

from heapwright.cli.bench_page import page_of

BENCH = Path(__file__).parent.parent.parent / "bench"
WHY_WRIGHT = BENCH.parent / "docs" / "why-wright.md"
OURS, PEERS = ("ptmalloc", "hoard", "slab"), ("jemalloc", "mimalloc", "tcmalloc")


def figures(label: str, after: str = "") -> list[list[str]]:
    """The cells of each row of a table that begins with a label, without their emphasis; `after` is a heading."""
    text = (BENCH / "README.md").read_text()
    lines = text[text.index(after) :].replace("*", "").replace("`", "").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row[1:] for row in cells if row[0] == label]


@pytest.mark.parametrize("label", ["pairs", "alone", "threads", "programs", "time, all", "peak memory, all"])
def test_the_means(label: str) -> None:
    means = json.loads((BENCH / "results" / "fast.json").read_text())["means"]
    what = "resident" if label.startswith("peak") else "time"
    group = label if label in means["system"] else "all"
    names = (*OURS, "dlmalloc", "tlsf", *PEERS)
    assert [f"{means[name][group][what]:.2f}" for name in names] in figures(label)


@pytest.mark.parametrize(("label", "ending"), [("mean", " x2"), ("mean, two processes", " in 2")])
def test_a_second_thread(label: str, ending: str) -> None:
    scaling = json.loads((BENCH / "results" / "threads.json").read_text())["scaling"]
    rows = {name: [value for row, value in scaling[name].items() if row.endswith(ending)] for name in scaling}
    assert [f"{math.prod(rows[name]) ** (1 / 6):.2f}" for name in ("system", *OURS, *PEERS)] in figures(label)


@pytest.mark.parametrize("row", ["random_sets", "fleet_3s", "server", "churn", "scratch", "thrash"])
def test_a_second_thread_in_each_workload(row: str) -> None:
    scaling = json.loads((BENCH / "results" / "threads.json").read_text())["scaling"]
    assert [f"{scaling[name][f'{row} x2']:.2f}" for name in ("system", *OURS, *PEERS)] in figures(row)


@pytest.mark.parametrize("label", ["without stacks, in the program", "in the program", "whole"])
def test_call_stacks(label: str) -> None:
    programs = json.loads((BENCH / "results" / "call_sites.json").read_text())["cpu_seconds"].values()
    for recorder in ("heapwright", "heaptrack", "memray"):
        row = f"{recorder}, {label}"
        known = [(each[row], each["bare"]) for each in programs if row in each]
        ratios = [median(a / b for a, b in zip(times, bare, strict=True)) for times, bare in known]
        for found in figures(row):
            assert [cell for cell in found if cell != "-"] == [f"{ratio:.2f}" for ratio in ratios]
        assert bool(ratios) == bool(figures(row))


def test_a_sample() -> None:
    programs = json.loads((BENCH / "results" / "sampling.json").read_text())["programs"]
    for row in programs:
        percent, spread = 100 * (row["instructions_x"] - 1), 100 * row["cpu_x_spread"]
        more = f"{'−' if percent < 0 else '+'} {abs(percent):.1f} %"
        expected = [more, f"{row['cpu_x']:.2f}", f"{spread:.0f} %", f"{row['collector_cpu_s']:.2f} s"]
        assert figures(row["program"].replace("gcc", "g++"), "## A sample")[0] == expected


RECORDERS = ("record_x", "sample_x", "heaptrack_x", "memray_x", "record_cpu_x", "heaptrack_cpu_x", "memray_cpu_x")


def test_recordings_beside_heaptrack() -> None:
    for row in json.loads((BENCH / "results" / "recording.json").read_text())["programs"]:
        ratios = [f"{row[name]:.2f}" if name in row else "-" for name in RECORDERS]
        expected = [f"{row['events']:,}", f"{row['bare_s']:.2f} s", *ratios, f"{row['bytes_per_event']:.2f}"]
        assert figures(row["program"].replace("gcc", "g++"), "## Recording")[0] == expected


ADVISED = {"redis": "redis-server", "python": "python3", "sqlite": "sqlite3"}


def test_the_advice() -> None:
    """The table's cells of memory are those of what was recommended; the other programs have none."""
    for case in json.loads((BENCH / "results" / "advise.json").read_text())["cases"]:
        [(_, *memory)] = figures(ADVISED.get(case["case"], case["case"]), "## Advice")
        judged = [each for each in case["judged"] if each["malloc"] == case["recommended"]]
        expected = [judged[0]["changes"]["retained"][when] for when in ("before", "after")] if judged else []
        assert [cell for cell in memory if cell] == [f"{each / 2**20:.1f} MiB" for each in expected], case["case"]


PEAKS = ("parent_peak_resident", "worker_peak_resident", "worker_peak_beyond")


def test_large_traces() -> None:
    found = json.loads((BENCH / "results" / "streaming.json").read_text())
    page = (BENCH.parent / "docs" / "many-traces.md").read_text()
    trace, compare = found["trace"], found["compare"]
    assert f"| {trace['events']:,} events, {trace['peak_live_blocks']:,} live blocks" in page
    assert f"| {compare['flattening']['processor_seconds']:.1f} s |" in page
    sizes = (trace["flat_bytes"], *(compare[f"{name}_bytes"] for name in PEAKS))
    assert [cell for size in sizes if (cell := f"| {size / 2**20:,.0f} MiB |") not in page] == []
    assert compare["parent_peak_resident_bytes"] < 1 << 30


STRANDED = ("16 1024", "8 1024", "8 512", "4 256")  # classes to a doubling, above blocks of so many bytes


@pytest.mark.parametrize("tile", [4, 8, 16, 32, 64])
def test_what_the_classes_of_wright_strand(tile: int) -> None:
    means = json.loads((BENCH / "results" / "stranded.json").read_text())["means"]
    [row] = [line for line in WHY_WRIGHT.read_text().splitlines() if line.startswith(f"| {tile} KiB |")]
    assert row.split("|")[2:-1] == [f" {means[f'{tile << 10} {classes}']:.3f} " for classes in STRANDED]


WITH_WRIGHT = ("wright", "hoard", *PEERS)


@pytest.mark.parametrize("what", ["time", "memory"])
@pytest.mark.parametrize("group", ["pairs", "alone", "threads", "programs", "all"])
def test_the_means_of_wright(group: str, what: str) -> None:
    means = json.loads((BENCH / "results" / "wright.json").read_text())["means"]
    measured = [f"{means[name][group]['resident' if what == 'memory' else what]:.2f}" for name in WITH_WRIGHT]
    label = f"{what}, all" if group == "all" else f"{group}, {what}"
    assert measured in figures(label) or (group, what) == ("pairs", "memory")


@pytest.mark.parametrize(("label", "what"), [("time", "time"), ("memory", "resident")])
def test_the_means_of_peers_from_their_sources(label: str, what: str) -> None:
    means = json.loads((BENCH / "results" / "peers.json").read_text())["means"]
    names = ("wright", "hoard", "snmalloc", "rpmalloc", "mimalloc3", "mimalloc", "jemalloc", "tcmalloc")
    assert [f"{means[name]['all'][what]:.2f}" for name in names] in figures(f"{label}, from sources too")


@pytest.mark.parametrize(
    ("label", "scenario"),
    [
        ("one thread", "alone"),
        ("eight threads, then idle", "idle"),
        ("one allocates and sleeps, another frees", "handed"),
        ("in a forked child", "forked"),
        ("after six swings, a second later", "swings"),
    ],
)
def test_what_is_given_back(label: str, scenario: str) -> None:
    rows = json.loads((BENCH / "results" / "gives_back.json").read_text())["rows"]
    found = rows[f"{scenario}, blocks of 16 to 1000 bytes"]
    ratios = [found[name]["resident"] / found[name]["live"] for name in ("system", *WITH_WRIGHT)]
    assert figures(label) == [[f"{ratio:.1f}" for ratio in ratios]]


def test_the_page_of_real_programs() -> None:
    """The page is what the command makes of the raw figures beside it; nobody edited it."""
    report = json.loads((BENCH / "results" / "programs.json").read_text())
    page = (BENCH.parent / "docs" / "bench-results.md").read_text()
    assert page == page_of(report, "../bench/results/programs.json")
