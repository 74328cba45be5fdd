"""Allocators that are not looked into block by block: what their own counters say, and what is not known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.extent import Extent
from heapwright.live.mimalloc import COUNT, FORMS, FREED, SIZE, USED, chained, columns_of
from heapwright.live.report import report_of
from heapwright.live.tcmalloc import CACHE_SIZE, LINKS, cached_by, page_heaps

pytestmark = pytest.mark.long

PROGRAMS = Path(__file__).parent / "programs"
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


@pytest.fixture
def preloaded(program, compiled):
    """A program on a library that is preloaded."""

    def start(source, library):
        if not (LIBRARIES / library).exists():
            pytest.skip(f"{library} is not installed")
        made = compiled(source, (PROGRAMS / source).read_text(), "-pthread", "-ldl")
        return program(made, LD_PRELOAD=str(LIBRARIES / library))

    return start


def figures_of(running):
    found = report_of(inspect(running.pid))
    [figures] = found["statistics"]
    assert found["allocator"] == figures["name"]
    assert sum(row["resident"] for row in found["table"].values()) == found["resident_bytes"]
    return found, figures


def test_tcmalloc_says_the_same_of_itself(preloaded):
    running = preloaded("tcmalloc.c", "libtcmalloc_minimal.so.4")
    found, figures = figures_of(running)
    allocated, heap, free, unmapped, cached = map(int, running.ask("stats").split())
    assert figures["live_bytes"] == allocated
    assert (figures["kept_bytes"], figures["released_bytes"]) == (free, unmapped)
    assert figures["mapped_bytes"] - figures["own_bytes"] == heap
    assert figures["cached_bytes"] >= cached > 1 << 20
    assert found["parts"]["foreign_heap"] > 0.9 * heap
    assert not found["notes"]


def test_mimallocs_live_blocks(preloaded):
    running = preloaded("usable.c", "libmimalloc.so.2")
    found, figures = figures_of(running)
    live = int(running.ask("live"))
    assert abs(figures["live_bytes"] - live) < 0.02 * live  # what waits for a whole heap's owner is among it
    assert figures["cached_bytes"] > 10 << 20  # one block in five was freed by another thread
    assert figures["released_bytes"] is None
    assert found["parts"]["foreign_heap"] > live


@pytest.fixture(scope="session")
def mimalloc(tmp_path_factory):
    """The library of a version, from $HEAPWRIGHT_MIMALLOC/VERSION or from a package; skip where neither can be."""

    def find(version):
        folder = Path(os.environ.get("HEAPWRIGHT_MIMALLOC") or tmp_path_factory.mktemp("mimalloc"), version)
        if not folder.exists() and version.startswith("3."):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
            subprocess.run([*command, f"cmeel-mimalloc=={version}"], check=False, capture_output=True, timeout=100)
            for wheel in folder.glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(folder)
        found = sorted(path for path in folder.rglob("libmimalloc.so*") if path.stat().st_size > 10_000)
        if not found:
            pytest.skip(f"mimalloc {version} is not there")
        return found[-1]

    return find


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1.2", "2.1.7", "2.2.4", "2.4.1", "3.2.8", "3.4.3"])
def test_the_live_blocks_of_other_mimallocs(version, mimalloc, program, compiled):
    made = compiled("usable.c", (PROGRAMS / "usable.c").read_text(), "-pthread")
    running = program(made, LD_PRELOAD=str(mimalloc(version)))
    found, figures = figures_of(running)
    live = int(running.ask("live"))
    assert abs(figures["live_bytes"] - live) < (0.02 if version < "3" else 0.001) * live
    assert figures["cached_bytes"] > 1 << 20
    assert found["diagnosis"] == "live" and not found["notes"]


def test_the_first_lines_say_it_too(preloaded, heapwright):
    running = preloaded("tcmalloc.c", "libtcmalloc_minimal.so.4")
    said = heapwright("inspect", running.pid).stdout.splitlines()
    live = json.loads(heapwright("inspect", running.pid, "--json").stdout)["statistics"][0]["live_bytes"]
    assert said[0].partition("; ")[2] == "malloc is tcmalloc"
    assert said[2].startswith(f"tcmalloc's own records: {live / (1 << 20):.1f} MiB live, ")


# --- shapes


def extent(words):
    data = np.array(words, np.uint64).view(np.uint8)
    return Extent(0x1000, 0x1000 + len(data), data, np.ones(1, bool))


def test_the_page_heap_is_known_by_its_sums():
    total, page = 900 << 13, 1 << 13
    right = [0, 800 * page, 100 * page, 50 * page, 750 * page, 0]
    assert [tuple(each) for each in page_heaps(extent(right), total)] == [(800 * page, 100 * page, 50 * page)]
    for index, value in ((4, 800 * page), (1, 901 * page), (2, 790 * page), (3, 7)):
        wrong = [*right]
        wrong[index] = value
        assert not list(page_heaps(extent(wrong), total))


@pytest.mark.parametrize("links", LINKS)
def test_threads_caches_are_a_list_with_links_of_either_release(links):
    words = {}
    for place, before, following in ((0x1000, 0, 0x9000), (0x9000, 0x1000, 0x5000), (0x5000, 0x9000, 0)):
        for at in range(CACHE_SIZE, CACHE_SIZE + 64, 8):
            words[place + at] = 77
        words |= {place + CACHE_SIZE: place >> 8, place + links: following, place + links + 8: before}
    image = SimpleNamespace(word=words.__getitem__, load=lambda place, size: words[place])
    assert cached_by(image, 0x1000) == [0x10, 0x90, 0x50]


def page(slices, used=0, size=0, reserved=0, form=FORMS[0]):
    """A record of a page, with as many blocks ready as there is room for."""
    words = [slices, reserved << 32 | reserved << 16, *[0] * (form.words - 2)]
    words[form.size] |= size << form.size_shift
    words[form.used] |= used
    words[form.freed] = 0x7000 | 1
    return words


def segment(*pages):
    """The columns of a segment's slices: those that continue a page have an offset."""
    rows = []
    for each in pages:
        rows += [each, *[[80 << 32, *[0] * (len(each) - 1)]] * ((each[0] & 0xFFFFFFFF) - 1)]
    return columns_of(np.array(rows, np.uint64), next(form for form in FORMS if form.words == len(rows[0])))


@pytest.mark.parametrize("form", FORMS)
def test_slices_that_lead_to_the_segments_end_are_pages(form):
    def segment_of(*pages):
        return segment(*[page(*each, form=form) for each in pages])

    good = segment_of((2,), (1, 700, 64, 1024), (8,), (1, 3, 16000, 4))
    assert chained(good)[:, [COUNT, USED, SIZE, FREED]].tolist()[1] == [1, 700, 64, 0x7000]
    assert len(chained(good)) == 4
    assert chained(good[:-1]) is not None and chained(good[:-2]) is None
    assert chained(segment_of((2,), (1, 1025, 64, 1024))) is None  # more in use than there are
    assert chained(segment_of((2,), (1, 5, 64, 2048))) is None  # more than fit
