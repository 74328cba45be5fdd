"""What the bench says of its samples: intervals, losses, chosen figures, and the page of results."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from click.testing import CliRunner

from heapwright.cli import bench as cli_bench
from heapwright.cli.bench_chosen import Chosen
from heapwright.cli.bench_page import page_of
from heapwright.cli.bench_report import report_of
from heapwright.cli.bench_tables import cell
from heapwright.lab.bench import Cell, Measured
from heapwright.lab.bench_figures import figures
from heapwright.lab.contestant import Contestant
from heapwright.lab.losses import losses, undecided
from heapwright.lab.sample import Sample, coverage, interval
from heapwright.lab.share import Share
from heapwright.lab.vector import FIGURES

MIB = 1 << 20


class Row:
    """A program whose samples are given elsewhere."""

    group, threads, timeout = "programs", 0, 1.0

    def __init__(self, name):
        self.name = self.title = name

    def parameters(self):
        return {}


def sample(seconds, resident=10 * MIB, **more):
    more = {"system_seconds": seconds / 4, "faults": int(1000 * seconds), **more}
    return Sample(2 * seconds, seconds, resident, **more)


def samples(*seconds, **more):
    return [sample(each, **more) for each in seconds]


def measured(name, **cells):
    return Measured(Row(name), {malloc: Cell(found) for malloc, found in cells.items()})


def report(*table, failed=()):
    contestants = [Contestant("system", None), Contestant("ours", None, is_ours=True), Contestant("peer", None)]
    return report_of(list(table), contestants, "cpu", Chosen([], [], list(failed))) | {"interrupted": False}


def slow_row():
    """Ours loses time for certain, and memory in a way that the repeats do not settle; the peer loses both."""
    ours = [sample(1.2, each * MIB) for each in (11, 11, 12, 12, 12)]
    return measured("slow", system=samples(1, 1, 1, 1, 1), ours=ours, peer=samples(2, 2, 2, 2, 2, resident=30 * MIB))


# --- intervals


@pytest.mark.parametrize(
    ("count", "kept"), [(2, (0, 1)), (5, (0, 4)), (6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (12, (2, 9)), (20, (5, 14))]
)
def test_an_interval_drops_outliers_while_it_still_covers_the_median(count, kept):
    assert interval([float(each) for each in reversed(range(count))]) == list(map(float, kept))


def test_the_coverage_is_that_of_the_sign_test():
    assert coverage(5, 0) == 1 - 2 / 32
    assert coverage(6, 0) > 0.95 > coverage(5, 0)
    assert coverage(9, 1) > 0.95 > coverage(9, 2)
    assert all(coverage(n, 0) < coverage(n + 1, 0) for n in range(2, 20))


def test_one_value_has_no_interval():
    assert interval([1.0]) is None


def test_an_interval_is_of_the_ratios_within_a_repeat():
    """The machine became twice as slow for both: the ratio did not move."""
    row = measured("row", system=samples(1, 2, 1), ours=samples(1.5, 3, 1.5))
    [found] = figures([row], "cpu")
    assert found["results"]["ours"]["time_interval"] == [1.5, 1.5]


# --- losses


def test_losses_are_above_the_limits_and_ours_alone():
    found = report(slow_row())
    assert [(each["allocator"], each["figure"], round(each["ratio"], 2)) for each in found["losses"]] == [
        ("ours", "time", 1.2),
        ("ours", "resident", 1.2),
    ]
    assert [each["is_certain"] for each in found["losses"]] == [True, False]


@pytest.mark.parametrize(("seconds", "is_loss"), [(1.02, False), (1.03, True)])
def test_the_limit_of_time(seconds, is_loss):
    row = measured("row", system=samples(1, 1), ours=samples(seconds, seconds))
    assert bool(losses(figures([row], "cpu"), ["ours"])) == is_loss


def test_a_few_repeats_are_not_certain():
    row = measured("row", system=samples(1, 1), ours=samples(2, 2))
    [loss] = losses(figures([row], "cpu"), ["ours"])
    assert (loss["interval"], loss["is_certain"]) == ([2, 2], False)


def test_the_largest_loss_is_first():
    table = [measured(f"row {n}", system=samples(1), ours=samples(n)) for n in (2, 4, 3)]
    ratios = [each["ratio"] for each in losses(figures(table, "cpu"), ["ours"])]
    assert ratios == [4, 3, 2]


def test_what_is_within_the_limit_but_may_be_above_is_counted():
    row = measured("row", system=samples(1, 1, 1), ours=samples(0.9, 1, 1.1))
    assert undecided(figures([row], "cpu"), "ours") == {"time": 1, "resident": 0}


# --- chosen figures


def test_each_figure_is_shown():
    after = {"1 s": 8 * MIB, "5 s": 4 * MIB}
    row = measured(
        "row", system=samples(1, after=after), ours=samples(2, resident=5 * MIB, after={"1 s": 2 * MIB, "5 s": MIB})
    )
    row.cells["ours"].share = Share(200, 30)
    [found] = figures([row], "cpu")

    def text(name, malloc):
        return cell(malloc, found["results"], [FIGURES[name]])

    assert {name: (text(name, "system"), text(name, "ours")) for name in FIGURES} == {
        "time": ("1.00 s", "2.00"),
        "wall": ("2.00 s", "2.00"),
        "cpu": ("1.00 s", "2.00"),
        "system": ("250 ms", "2.00"),
        "faults": ("1,000", "2.00"),
        "peak": ("10.0 M", "0.50"),
        "after_1s": ("8.0 M", "0.25"),
        "after_5s": ("4.0 M", "0.25"),
        "end": ("-", "-"),
        "share": ("-", "15 %"),
    }


def test_a_share_that_failed_costs_only_the_share():
    row = measured("row", system=samples(1), ours=samples(1), peer=samples(1))
    row.cells["ours"].share_error = "ended with status 255: not permitted"
    found = report(row)
    assert found["failures"] == ["malloc's share of row on ours: ended with status 255: not permitted"]
    assert found["rows"][0]["results"]["ours"]["time_ratio"] == 1


# --- the page


def test_the_page_has_the_tables_and_the_losses():
    after = {"end": 3 * MIB}
    row = measured("quick", system=samples(1, after=after), ours=samples(0.5, after=after), peer=[])
    row.cells["peer"].error = "ended by SIGSEGV"
    page = page_of(report(slow_row(), row, failed=["no inputs for z3"]), "raw.json")
    assert "[raw.json](raw.json)" in page
    assert "| programs, time | 0.77 | 2.00 (1 of 2) |" in page
    assert "| `quick` | 1.00 s | 0.50 | failed |" in page
    assert "| `ours` | `slow` | time | 1.20 | 1.20 to 1.20 | certain |" in page
    assert "| `ours` | `slow` | peak memory | 1.20 | 1.10 to 1.20 |  |" in page
    assert "* no inputs for z3" in page
    assert "* quick on peer: ended by SIGSEGV" in page
    assert "**Resident memory at the end**" in page
    assert "drain" not in page, "no program of this run drains"


def test_the_tables_of_a_page_are_rectangles():
    for one, other in pairwise(page_of(report(slow_row()), "").splitlines()):
        if one.startswith("|") and other.startswith("|"):
            assert one.count("|") == other.count("|"), (one, other)


def test_results_are_shown_again(tmp_path):
    kept, page = tmp_path / "kept.json", tmp_path / "page.md"
    kept.write_text(json.dumps(report(slow_row())))
    done = CliRunner().invoke(cli_bench.command, ["--from", str(kept), "--show", "faults", "--page", str(page)])
    assert done.exit_code == 0, done.output
    assert "1,000" in done.output
    assert page.read_text() == page_of(json.loads(kept.read_text()), "kept.json")


def test_parts_of_a_bench_are_joined(tmp_path):
    a, b, both = (tmp_path / name for name in ("a.json", "b.json", "both.json"))
    row = measured("quick", system=samples(1), ours=samples(0.3), peer=samples(1))
    whole = report(slow_row(), row)
    a.write_text(json.dumps(report(slow_row())))
    b.write_text(json.dumps(report(row) | {"interrupted": True}))
    done = CliRunner().invoke(cli_bench.command, ["--from", str(a), "--from", str(b), "-o", str(both)])
    assert done.exit_code == 0, done.output
    found = json.loads(both.read_text())
    assert [each["interrupted"] for each in found["parts"]] == [False, True]
    assert found["interrupted"]
    assert {name: found[name] for name in ("rows", "means", "losses", "unstable")} == {
        name: json.loads(json.dumps(whole[name])) for name in ("rows", "means", "losses", "unstable")
    }


def test_what_is_no_part_of_the_same_bench_is_refused(tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(report(slow_row())))
    b.write_text(json.dumps(report(slow_row()) | {"clock": "wall"}))
    done = CliRunner().invoke(cli_bench.command, ["--from", str(a), "--from", str(a)])
    assert str(done.exception).startswith("slow is in several of these files")
    done = CliRunner().invoke(cli_bench.command, ["--from", str(a), "--from", str(b)])
    assert str(done.exception).startswith("these files have other mallocs or another clock")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"rows": []}', '{"rows": [], "ours": []}'])
def test_a_file_without_results_is_one_line(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    done = CliRunner().invoke(cli_bench.command, ["--from", str(path)])
    assert "holds no results" in str(done.exception)


def test_nothing_is_measured_with_from(tmp_path):
    done = CliRunner().invoke(cli_bench.command, ["--from", str(tmp_path / "x"), "-w", "z3"])
    assert done.exit_code == 2
    assert "has no effect with --from" in done.output
