"""The misuse programs under the compiled `wright[HARDENED=1]`: each row of the table in docs/hardened.md."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from heapwright.native.library import library_of

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
SPEC = "wright[HARDENED=1]"
RAW = json.loads((ROOT / "bench" / "results" / "misuse.json").read_text())
SAID = re.compile(r"heapwright: wright: ([a-z ]+): 0x[0-9a-f]+(?: \(\d+ bytes\))?")


@pytest.fixture(scope="module")
def table():
    """The script that runs the programs, as a module."""
    spec = spec_from_file_location("misuse_table", ROOT / "examples" / "misuse" / "table.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def program(table, tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (Debian: apt-get install gcc)")
    return table.build(tmp_path_factory.mktemp("misuse"))


@pytest.mark.parametrize("way", [each["name"] for each in RAW["ways"]])
def test_a_way_ends_as_the_table_says(way, table, program):
    expected, found = RAW["results"][SPEC][way], table.outcome(program, way, library_of(SPEC))
    assert found.verdict == expected["verdict"]
    if found.verdict == "check":
        assert SAID.fullmatch(found.said)[1] == SAID.fullmatch(expected["said"])[1]


def test_guarded_copies_do_what_c_says(preloaded):
    assert preloaded(SPEC, "copies").returncode == 0


def test_the_results_are_of_these_programs(table, program):
    assert [way._asdict() for way in table.ways(program)] == RAW["ways"]


def test_the_page_has_the_table(table):
    assert table.table(RAW) in (ROOT / "docs" / "hardened.md").read_text()


def test_more_ways_are_checked_than_by_the_c_library():
    checks = {name: sum(each["verdict"] == "check" for each in one.values()) for name, one in RAW["results"].items()}
    assert max(checks, key=checks.get) == SPEC
