"""`heapwright doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from heapwright.cli import doctor


def findings(done):
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_this_machine_has_what_is_needed(heapwright):
    done = heapwright("doctor", "--quick")
    assert done.returncode == 0, done.stdout
    assert all(line.startswith(("ok ", "- ")) for line in done.stdout.splitlines())
    assert "self-test" not in done.stdout


@pytest.mark.slow
def test_the_self_test_runs_a_program(heapwright):
    pytest.importorskip("numba")
    done = heapwright("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert findings(done)["self-test"]["is_good"]
    assert findings(done)["Python"]["value"] == ".".join(map(str, sys.version_info[:3]))


def test_no_linker_and_no_cache_are_said_with_a_remedy(heapwright, tmp_path):
    (tmp_path / "file").touch()
    done = heapwright("doctor", "--quick", "--json", PATH="/nowhere", CC="", HEAPWRIGHT_CACHE=str(tmp_path / "file"))
    assert done.returncode == 1
    found = findings(done)
    assert "apt-get install" in found["linker"]["remedy"]
    assert not found["cache"]["is_good"] and "HEAPWRIGHT_CACHE" in found["cache"]["remedy"]
    assert not found["git"]["is_good"] and not found["git"]["is_needed"]


def test_each_missing_thing_is_a_line_that_says_what_to_do():
    lacking = doctor.package("heapwright-no-such-package")
    assert doctor.line(lacking).split() == [
        *("missing", "heapwright-no-such-package", "not", "installed"),
        *("(pip", "install", "heapwright-no-such-package)"),
    ]
    assert doctor.line(doctor.optional("jq", None, "jq")).startswith("-  ")


def test_the_self_test_tells_why_it_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "build", lambda work: tmp_path / "no.so")
    finding = doctor.self_test()
    assert not finding.is_good
    assert "no.so" in finding.remedy


def test_a_cache_that_is_to_be_made(monkeypatch, tmp_path):
    monkeypatch.setenv("HEAPWRIGHT_CACHE", str(tmp_path / "a" / "b"))
    assert doctor.cache_folder().is_good
    assert not Path(tmp_path / "a").exists()
