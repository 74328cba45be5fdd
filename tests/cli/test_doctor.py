"""`heapwright doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import json
import shutil
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


@pytest.mark.long
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


@pytest.mark.parametrize("name", ["plain", "a b", "a:b"])
def test_the_self_test_runs_from_the_folder_of_the_cache(monkeypatch, tmp_path, name):
    pytest.importorskip("numba")
    from heapwright.native.library import library_of

    library, built = library_of("kr"), []

    def build(work):
        built.append(work)
        return shutil.copy(library, work / "kr.so") and work / "kr.so"

    monkeypatch.setenv("HEAPWRIGHT_CACHE", str(tmp_path / name))
    monkeypatch.setattr(doctor, "build", build)
    assert doctor.self_test().is_good
    assert [work.parent for work in built] == [tmp_path / name]
    assert not list((tmp_path / name).iterdir())


def test_the_self_test_of_a_cache_that_cannot_be_made_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEAPWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    finding = doctor.self_test()
    assert not finding.is_good and "file" in finding.remedy


@pytest.mark.parametrize("width", [80, 40, 20])
def test_the_lines_fit_the_terminal(heapwright, tmp_path, width):
    done = heapwright("doctor", "--quick", COLUMNS=str(width), HEAPWRIGHT_CACHE=str(tmp_path))
    whole = heapwright("doctor", "--quick", HEAPWRIGHT_CACHE=str(tmp_path))
    assert all(len(line) <= width or " " not in line.strip() for line in done.stdout.splitlines())
    assert "".join(done.stdout.split()) == "".join(whole.stdout.split())


def test_a_cache_that_is_to_be_made(monkeypatch, tmp_path):
    monkeypatch.setenv("HEAPWRIGHT_CACHE", str(tmp_path / "a" / "b"))
    assert doctor.cache_folder().is_good
    assert not Path(tmp_path / "a").exists()
