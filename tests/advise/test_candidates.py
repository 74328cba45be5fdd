"""The grids of candidates: only what an installed release knows, and what the environment then holds."""

from __future__ import annotations

from itertools import chain

import pytest

from heapwright.advise import candidates
from heapwright.advise.candidates import (
    COMPILED,
    GRIDS,
    PACKAGED,
    SAME_MALLOC,
    CandidateError,
    Today,
    candidate,
    family_among,
    grid,
    named,
    offered,
    todays_malloc,
)
from heapwright.advise.settings import OPTIONS, SYSTEM, environment_of, known_names, risks_of
from heapwright.lab.machine_facts import PEERS
from heapwright.lab.naming import parse


@pytest.fixture
def peers(monkeypatch, tmp_path):
    """Libraries that know some options."""
    libraries = {name: tmp_path / f"lib{name}.so" for name in PEERS}
    libraries["jemalloc"].write_bytes(b"\0dirty_decay_ms\0muzzy_decay_ms\0")
    libraries["mimalloc"].write_bytes(b"\0purge_delay\0")
    libraries["tcmalloc"].write_bytes(b"")
    monkeypatch.setattr(candidates, "installed_peers", lambda: libraries)
    return libraries


def texts(found, family):
    return [each.text for each in found if each.family == family]


def test_only_what_the_installed_release_knows_is_offered(peers):
    found = grid(Today())
    assert texts(found, "mimalloc") == ["mimalloc", "mimalloc{MIMALLOC_PURGE_DELAY=0}"]
    assert texts(found, "tcmalloc") == ["tcmalloc"]
    assert "jemalloc{MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0}" in texts(found, "jemalloc")
    assert not any("narenas" in text for text in texts(found, "jemalloc"))


@pytest.mark.usefixtures("peers")
def test_todays_malloc_without_settings_is_no_candidate():
    assert SYSTEM not in texts(grid(Today()), SYSTEM)
    assert SYSTEM in texts(grid(Today("jemalloc")), SYSTEM)
    assert "jemalloc" not in texts(grid(Today("jemalloc")), "jemalloc")


@pytest.mark.usefixtures("peers")
def test_every_candidate_is_a_malloc_as_the_other_commands_take_it():
    for each in grid(Today()):
        spec = parse(each.text)
        assert spec.malloc == each.malloc
        assert bool(spec.settings) == bool(each.options)


def test_each_candidate_knows_how_far_it_is_from_todays_deployment():
    today = Today()
    assert candidate(today, SYSTEM, {"MALLOC_ARENA_MAX": "1"}).steps == SAME_MALLOC
    assert candidate(today, "jemalloc", {}).steps == PACKAGED
    assert named(today, "hoard[K=4]").steps == COMPILED
    assert candidate(Today("jemalloc"), "jemalloc", {"narenas": "1"}).steps == SAME_MALLOC


def test_the_grids_use_options_that_are_described():
    for family, settings in GRIDS.items():
        assert set(chain.from_iterable(settings)) <= set(OPTIONS[family])
        assert len({tuple(each.items()) for each in settings}) == len(settings)


def test_several_options_share_a_variable_where_the_malloc_wants_it():
    assert environment_of(SYSTEM, {"MALLOC_ARENA_MAX": "1", "glibc.malloc.tcache_count": "0"}) == (
        ("MALLOC_ARENA_MAX", "1"),
        ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
    )
    assert environment_of("jemalloc", {"narenas": "1", "tcache": "false"}) == (
        ("MALLOC_CONF", "narenas:1,tcache:false"),
    )
    assert environment_of("jemalloc", {}) == environment_of(SYSTEM, {}) == ()
    assert environment_of("mimalloc", {"MIMALLOC_PURGE_DELAY": "0"}) == (("MIMALLOC_PURGE_DELAY", "0"),)


def test_every_option_has_an_effect_and_a_risk_and_some_values():
    for each in chain.from_iterable(known.values() for known in OPTIONS.values()):
        assert each.effect
        assert each.risk
        assert each.values


def test_the_risks_name_the_settings_the_malloc_and_the_preloading():
    risks = risks_of("jemalloc", {"background_thread": "true"}, is_preloaded=True)
    assert "fork" in risks[0]
    assert any("LD_PRELOAD" in risk for risk in risks)
    assert risks_of(SYSTEM, {"MALLOC_ARENA_MAX": "1"}, is_preloaded=False)[0].startswith("MALLOC_ARENA_MAX: ")


def test_this_machines_glibc_knows_its_variables():
    assert "MALLOC_ARENA_MAX" in known_names(SYSTEM, None)
    assert set(dict.fromkeys(name for each in offered(SYSTEM, None) for name in each)) <= set(OPTIONS[SYSTEM])


# --- what runs today


def test_a_peer_among_the_libraries_is_todays_malloc():
    assert family_among(["linux-vdso.so.1", "libjemalloc.so.2", "libc.so.6"]) == "jemalloc"
    assert family_among(["/usr/lib/libtcmalloc_minimal.so.4"]) == "tcmalloc"
    assert family_among(["libc.so.6"]) == SYSTEM


def test_a_program_of_the_c_library_runs_on_its_malloc():
    assert todays_malloc("ls") == Today(SYSTEM)


def test_a_program_that_no_malloc_can_serve_is_refused(monkeypatch):
    monkeypatch.setattr(candidates, "why_unserved", lambda command: "is statically linked, so nothing can be preloaded")
    with pytest.raises(CandidateError, match="no malloc can be chosen for true: it is statically linked"):
        todays_malloc("true")
