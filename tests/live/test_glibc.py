"""glibc's heap in every shape: the look agrees with malloc's own figures, and with what malloc_trim then gives back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.glibc import lists, walk
from heapwright.live.report import report_of
from heapwright.spans import FREE

pytestmark = pytest.mark.long

SHAPES = ("holes", "fast", "foreign", "walled", "lost", "mapped", "threads", "segments")
SOURCE = Path(__file__).parent / "programs" / "shapes.c"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    import subprocess

    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    output = tmp_path_factory.mktemp("shapes") / "shapes"
    subprocess.run(["gcc", "-O1", "-pthread", "-o", output, SOURCE, "-ldl"], check=True)
    return output


def totals(look):
    """Free bytes in all arenas, as malloc counts them; and what its arenas have."""
    return sum(arena.system_bytes for arena in look.arenas), sum(arena.free_bytes for arena in look.arenas)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_look_agrees_with_malloc(program, shapes, shape):
    running = program(shapes, shape)
    look = inspect(running.pid)
    found = report_of(look)
    system, free, _, blocks, mapped = map(int, running.ask("info").split())
    assert not look.damage
    assert not [note for note in look.notes if "mapped blocks" in note]
    assert totals(look)[0] == system
    assert abs(totals(look)[1] - free) <= 16 * len(look.arenas)  # where a chunk is cut: at its head, or 8 bytes on
    assert (len(look.mapped), sum(chunk.end - chunk.start for chunk in look.mapped)) == (blocks, mapped)
    for column in ("resident", "swapped", "virtual"):
        assert sum(row[column] for row in found["table"].values()) == found[f"{column}_bytes"]
    assert abs(found["parts"]["unexplained"]) <= 0.01 * found["resident_bytes"]
    gained = int(running.ask("trim"))
    assert abs(found["returnable_bytes"] - gained) <= max(0.01 * gained, 32 << 10)


def test_free_chunks_are_those_in_lists(program, shapes):
    look = inspect(program(shapes, "threads").pid)
    listed = {place for _, places in lists(look.heaps[0]) for place in places}
    walked = set()
    for chunks in look.chunks:
        fast = set(chunks.run.places[chunks.fast].tolist())
        walked |= {place - 8 for place, _, kind in walk(chunks) if kind == FREE} - fast
    assert walked == listed


def test_a_walk_tiles_each_run(program, shapes):
    for chunks in inspect(program(shapes, "segments").pid).chunks:
        place = int(chunks.run.places[0]) + 8
        for start, size, _ in walk(chunks):
            assert start == place
            place += size
        assert place == chunks.run.end


def test_chunks_in_caches_of_sleeping_threads_are_found(program, shapes):
    look = inspect(program(shapes, "threads").pid)
    assert look.account.parts["cached"].virtual > 4 * 30_000


def test_fast_chunks_are_free(program, shapes):
    look = inspect(program(shapes, "fast").pid)
    assert sum(len(chunks.fast) for chunks in look.chunks) > 5000


def test_each_c_library_has_its_heap(program, shapes):
    look = inspect(program(shapes, "two").pid)
    assert len(look.heaps) == 2
    assert len([arena for arena in look.arenas if arena.live_bytes > 500_000]) == 2
    assert not look.damage


def test_locked_pages_do_not_go_back(program, shapes):
    running = program(shapes, "locked")
    look = inspect(running.pid)
    gained = int(running.ask("trim"))
    assert abs(look.returnable.resident - gained) <= 1 << 20


@pytest.mark.parametrize(("shape", "rule"), [("damaged", "GL1"), ("unlinked", "GL4")])
def test_damage_is_told_with_its_place(program, shapes, heapwright, shape, rule):
    running = program(shapes, shape)
    done = heapwright("inspect", running.pid)
    assert done.returncode == 1, done.stderr
    assert f"damaged: {rule}" in done.stdout
    assert "broken at 0x" in done.stdout


def test_a_static_program(program, tmp_path):
    import subprocess

    output = tmp_path / "static"
    if subprocess.run(
        ["gcc", "-O1", "-static", "-pthread", "-o", output, SOURCE], capture_output=True, check=False
    ).returncode:
        pytest.skip("a static C library is not installed")
    running = program(output, "holes")
    look = inspect(running.pid)
    assert totals(look)[0] == int(running.ask("info").split()[0])
    assert not look.damage


def test_mapped_blocks_are_in_groups_too(program, shapes):
    found = report_of(inspect(program(shapes, "mapped").pid))
    large = [group for group in found["pins"] if group["kind"] == "text" and group["bytes"] > 128 << 10]
    assert sum(group["blocks"] for group in large) >= 17


def test_a_heap_is_found_while_half_of_its_lists_change(monkeypatch):
    """malloc_consolidate rewrites many bins: those that were read too early or too late do not hide the heap."""
    import glibc_image

    from heapwright.live.look import look_at

    def torn(bins):
        source = glibc_image.image_of(35)
        for index in range(bins):
            source.write(glibc_image.DATA + 0x1C60 + 112 + 16 * index, "2Q", glibc_image.BREAK + 0x290, 0x30)
        return [arena.name for arena in look_at(source).arenas]

    assert torn(60) == ["main arena", "arena 1"]
    assert torn(100) == []
