"""jemalloc read from outside: its own figures, to the byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.jemalloc.extents import SIZES, extents_of, spans_of
from heapwright.live.jemalloc.structs import ACTIVE, DIRTY, LAYOUTS, NO_CLASS, RETAINED
from heapwright.live.report import report_of
from heapwright.spans import CACHED, FREE, USED

pytestmark = pytest.mark.long

LIBRARIES = {
    "5.3": Path("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"),
    "5.2": Path(os.environ.get("HEAPWRIGHT_JEMALLOC", "/nowhere"), "libjemalloc.so.2"),
}
SOURCE = Path(__file__).parent / "programs" / "jemalloc.c"


@pytest.fixture(params=LIBRARIES)
def running(request, program, compiled):
    library = LIBRARIES[request.param]
    if not library.exists():
        pytest.skip(f"{library} is not there (jemalloc {request.param})")
    return program(compiled("jemalloc.c", SOURCE.read_text(), "-pthread", "-ldl"), LD_PRELOAD=str(library))


def test_the_figures_are_jemallocs_own(running):
    allocated, active, retained, dirty, cached, _ = map(int, running.ask("stats").split())
    found = report_of(inspect(running.pid))
    [figures] = found["statistics"]
    assert figures["live_bytes"] + (figures["cached_bytes"] or 0) == allocated
    if figures["version"].startswith("5.3"):
        assert figures["cached_bytes"] == cached > 1 << 20
    assert (figures["released_bytes"], figures["kept_bytes"]) == (retained, dirty)
    margins = found["table"]["overhead"]["virtual"]
    assert active - (1 << 20) < allocated + figures["free_bytes"] + margins <= active + (1 << 20)
    assert not [note for note in found["notes"] if "jemalloc" in note]
    assert not found["damage"]


def test_the_parts_sum_and_a_purge_is_foretold(running):
    running.ask("stats")  # the first one touches memory of its own
    found = report_of(inspect(running.pid))
    for column in ("resident", "swapped", "virtual"):
        assert sum(row[column] for row in found["table"].values()) == found[f"{column}_bytes"]
    assert found["parts"]["unexplained"] == found["parts"]["foreign_heap"] == 0
    assert found["parts"]["other"] < 1 << 20
    assert "mallctl" in found["returned_by"]
    gained = int(running.ask("purge").split()[-1])
    assert gained > 10 << 20
    assert abs(found["returnable_bytes"] - gained) <= 0.01 * gained
    assert report_of(inspect(running.pid))["returnable_bytes"] == 0


def test_what_pins_is_grouped(running):
    found = report_of(inspect(running.pid))
    text = [group for group in found["pins"] if group["kind"] == "text"]
    assert 23_900 <= sum(group["blocks"] for group in text) <= 33_000  # one in five of 120,000, and those in caches
    assert sum(group["pinned_bytes"] for group in text) > 0.8 * found["parts"]["free_rest"] > 10 << 20


@pytest.mark.skipif(not shutil.which("gcore"), reason="gcore is not installed (Debian: gdb)")
def test_a_core_has_the_same_blocks(running, tmp_path):
    import subprocess

    live = report_of(inspect(running.pid))
    subprocess.run(["gcore", "-o", tmp_path / "core", str(running.pid)], capture_output=True, check=True, cwd=tmp_path)
    dead = report_of(inspect(tmp_path / f"core.{running.pid}"))
    assert dead["statistics"] == live["statistics"]
    assert dead["parts"]["live"] == live["table"]["live"]["virtual"]
    assert dead["parts"]["free_pages"] is None and dead["returnable_bytes"] is None


# --- records


def record(place, size, state, size_class, slab=False, free=0, bitmap=()):
    """A record of 5.3 as the source lays it out."""
    layout = LAYOUTS["5.3"]
    bits = slab << layout.slab | state << layout.state | size_class << layout.size_class | free << layout.free_count
    return [bits, place, size | 5, 0, 0, 0, 0, 0, *bitmap, *[0] * (8 - len(bitmap))]


def rows(*records):
    return np.array(records, np.uint64)


SLAB = record(0x10000, 0x5000, ACTIVE, 13, True, 62, [2**64 - 2**2])  # 64 regions of 320 bytes, two of them used


def test_regions_of_a_slab_are_used_free_or_cached():
    extents, wrong = extents_of(rows(SLAB), LAYOUTS["5.3"])
    assert SIZES[13] == 320 and wrong == 0
    spans = spans_of(extents, np.array([0x10000 + 320, 0x777000], np.int64))
    assert spans.kinds.tolist() == [USED, CACHED, *[FREE] * 62]
    assert (spans.starts[0], spans.ends[-1]) == (0x10000, 0x15000)


def test_a_bitmap_is_read_only_as_far_as_there_are_regions():
    stale = record(0x10000, 0x5000, ACTIVE, 13, True, 1, [1, 12345])
    assert extents_of(rows(stale), LAYOUTS["5.3"])[1] == 0


def test_a_large_block_lies_anywhere_in_its_extent():
    extents, _ = extents_of(rows(record(0x20440, 0x9000, ACTIVE, 40)), LAYOUTS["5.3"])
    spans = spans_of(extents, np.zeros(0, np.int64))
    assert (spans.starts[0], spans.ends[0]) == (0x20440, 0x20440 + SIZES[40])


@pytest.mark.parametrize(
    "bad",
    [
        record(0x10000, 0x5000, ACTIVE, 13, True, 61, [2**64 - 2**2]),  # the bitmap has another count
        record(0x10000, 0x1000, ACTIVE, 60),  # the block would be larger than its extent
        record(0x14000, 0x5000, DIRTY, NO_CLASS),  # it lies over another one
        record(0, 0x5000, RETAINED, NO_CLASS),
        record(0x90000, 0, ACTIVE, 13, True),
        record(0x90000, 0x1000, 7, NO_CLASS),
    ],
)
def test_records_that_make_no_sense_are_left_out(bad):
    extents, wrong = extents_of(rows(SLAB, bad) if bad[1] != SLAB[1] else rows(bad), LAYOUTS["5.3"])
    assert wrong == 1


def test_an_unknown_version_is_said_to_be_one(monkeypatch, program, compiled):
    library = LIBRARIES["5.3"]
    if not library.exists():
        pytest.skip("libjemalloc2 is not installed")
    running = program(compiled("jemalloc.c", SOURCE.read_text(), "-pthread", "-ldl"), LD_PRELOAD=str(library))
    monkeypatch.delitem(LAYOUTS, "5.3")
    found = report_of(inspect(running.pid))
    assert found["allocator"] == "jemalloc" and found["statistics"][0]["version"] == "5.3.0"
    assert found["statistics"][0]["live_bytes"] is None
    assert found["parts"]["foreign_heap"] > 100 << 20
    assert any("another layout" in note for note in found["notes"])
