"""The lines to deploy a recommendation."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from heapwright.advise.candidates import Candidate
from heapwright.advise.deploy import deployment, soname
from heapwright.lab.contestant import Contestant

ARENAS = (("MALLOC_ARENA_MAX", "1"),)


def made(text, family, steps, library=None, settings=()):
    return Candidate(text, family, text, dict(settings), steps, Contestant(text, library, settings))


def test_a_setting_of_todays_malloc_needs_only_variables():
    lines = deployment(made("system", "system", 0, settings=ARENAS), "./app --port 80")
    assert lines["preparation"] == []
    assert lines["shell"] == ["MALLOC_ARENA_MAX=1 ./app --port 80"]
    assert lines["Dockerfile"] == ['ENV MALLOC_ARENA_MAX="1"']
    assert lines["systemd"] == ["[Service]", 'Environment="MALLOC_ARENA_MAX=1"']
    assert lines["Kubernetes"] == ["env:", "  - name: MALLOC_ARENA_MAX", '    value: "1"']


def test_a_peer_is_installed_and_preloaded_from_where_it_was_found(tmp_path):
    library, link = tmp_path / "libjemalloc.so.2.3", tmp_path / "libjemalloc.so.2"
    library.write_bytes(b"")
    link.symlink_to(library.name)
    assert soname(library) == link
    lines = deployment(made("jemalloc", "jemalloc", 1, library, (("MALLOC_CONF", "narenas:1"),)))
    assert shlex.split(lines["shell"][0]) == [f"LD_PRELOAD={link}", "MALLOC_CONF=narenas:1", "./program"]
    assert any(line.startswith("apt-get install libjemalloc2") for line in lines["preparation"])
    assert lines["Dockerfile"][0].startswith("# Debian bookworm")
    assert lines["Dockerfile"][1].startswith("RUN apt-get update && apt-get install")
    assert f'Environment="LD_PRELOAD={link}"' in lines["systemd"]


@pytest.mark.parametrize(
    ("release", "package", "other"),
    [("2.0", "libmimalloc2.0", "libmimalloc3"), ("3", "libmimalloc3", "libmimalloc2.0")],
)
def test_a_package_with_another_library_than_the_measured_one_is_told(tmp_path, release, package, other):
    """The dynamic linker skips a library that is not there, and the C library's malloc would run."""
    library = tmp_path / f"libmimalloc.so.{release}"
    library.write_bytes(b"")
    lines = deployment(made("mimalloc", "mimalloc", 1, library))
    plain, warned = sorted(lines["preparation"], key=len)
    assert plain.startswith(f"apt-get install {package}  # Debian ") and "measured" not in plain
    assert f"apt-get install {other} " in warned and "another release than the one that was measured" in warned
    assert f" {package} " in lines["Dockerfile"][1]


def test_one_of_heapwrights_is_built_first():
    lines = deployment(made("hoard[K=4]", "ours", 2, Path("/cache/libx.so")))
    assert lines["preparation"] == ["heapwright build 'hoard[K=4]' -o /usr/local/lib/libheapwright-hoard-K-4.so"]
    assert lines["Dockerfile"][0] == "COPY libheapwright-hoard-K-4.so /usr/local/lib/"
    assert 'ENV LD_PRELOAD="/usr/local/lib/libheapwright-hoard-K-4.so"' in lines["Dockerfile"]


def test_the_c_librarys_malloc_in_place_of_a_linked_one_is_preloaded_by_its_name():
    assert deployment(made("system", "system", 1))["shell"] == ["LD_PRELOAD=libc.so.6 ./program"]
