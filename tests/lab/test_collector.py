"""The collector alone: the ring that it makes, and how it grows."""

from __future__ import annotations

import os
import time

import pytest

from heapwright.errors import UserError
from heapwright.lab.collector import MAX_AHEAD, MIN_AHEAD, UNASKED, Collector
from heapwright.traces import raw

pytest.importorskip("numba")


@pytest.fixture
def collector(tmp_path):
    """A collector that nobody has used yet."""
    with (tmp_path / "x.hwt").open("w+b") as file:
        yield Collector(tmp_path, file)


def test_a_ring_that_nobody_used_leaves_nothing(collector):
    with collector:
        assert collector.path.stat().st_mode & 0o777 == 0o600
    assert not collector.path.exists()
    assert collector.complete()["processes"] == []


def test_the_kernel_knows_who_has_opened_the_ring(collector):
    with collector:
        assert collector.is_alone
        with collector.path.open("r+b"):
            assert not collector.is_alone
        assert collector.is_alone


def test_a_pass_is_due_when_a_chunk_is_taken_or_a_phase_begins(collector, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert collector.is_due()
    for change in (collector._header.tickets, collector._header.phase):
        collector.make_pass()
        assert not collector.is_due()
        change.store(change.load() + 1)
        assert collector.is_due()
    collector.make_pass()
    now[0] += UNASKED
    assert collector.is_due()


def test_chunks_stay_ahead_of_tickets(collector):
    state, header = collector.converter.state, collector._header
    for taken in (0, 10, 255, 256, 600, 2000, 2010, 2100):
        header.tickets.store(taken)
        collector.make_room()
        assert taken + MIN_AHEAD <= state.issued <= max(2000 + MAX_AHEAD, taken + MIN_AHEAD)
        slots = [header.slots[ticket % raw.SLOTS] for ticket in range(max(0, state.issued - raw.SLOTS), state.issued)]
        assert [slot >> raw.TICKET for slot in slots] == list(range(state.issued - len(slots) + 1, state.issued + 1))
        assert collector.path.stat().st_size == raw.HEADER_BYTES + state.room * raw.CHUNK_BYTES


@pytest.mark.parametrize("free", [0, 10, 1000])
def test_part_of_the_disk_stays_free(collector, monkeypatch, free):
    before = collector.converter.state.room
    left = [free * raw.CHUNK_BYTES]
    grow = os.posix_fallocate

    def grown(file, start, size):
        left[0] -= size
        grow(file, start, size)

    class Disk:
        f_blocks, f_frsize = 1, 1
        f_bavail = property(lambda self: left[0])

    monkeypatch.setattr(os, "posix_fallocate", grown)
    monkeypatch.setattr(os, "fstatvfs", lambda file: Disk())
    for taken in range(256, 2000, 100):
        collector._header.tickets.store(taken)
        collector.make_room()
    more = collector.converter.state.room - before
    assert more <= free
    assert left[0] == (free - more) * raw.CHUNK_BYTES
    assert left[0] >= collector.converter.state.room * raw.CHUNK_BYTES // 8 or not more


def test_no_room_at_all_is_said_before_the_program_runs(tmp_path, monkeypatch):
    class Disk:
        f_blocks, f_frsize, f_bavail = 1, 1, 0

    monkeypatch.setattr(os, "fstatvfs", lambda file: Disk())
    said = "cannot record into .*: No space left on device; choose another place"
    with (tmp_path / "x.hwt").open("w+b") as file, pytest.raises(UserError, match=said):
        Collector(tmp_path, file)
    assert [each.name for each in tmp_path.iterdir()] == ["x.hwt"]


def test_a_folder_that_takes_no_file_is_one_line(tmp_path):
    said = "cannot record into .*nowhere: No such file"
    with (tmp_path / "x.hwt").open("w+b") as file, pytest.raises(UserError, match=said):
        Collector(tmp_path / "nowhere", file)
