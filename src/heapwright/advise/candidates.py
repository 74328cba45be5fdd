"""The mallocs and settings to try: the C library's, the installed peers, and heapwright's.

Each malloc has a grid of settings: single options, and those that belong together. `--tune` searches further ones.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from heapwright.advise.settings import LOADER, SYSTEM, environment_of, known_names, risks_of
from heapwright.errors import UserError
from heapwright.lab.contestant import Contestant
from heapwright.lab.machine_facts import PEERS, installed_peers
from heapwright.lab.naming import contestants, parse
from heapwright.preload import executed, why_unserved

OURS = "ours"
OUR_MALLOCS = ("wright", "hoard", "slab")
TODAY = "today"
SAME_MALLOC, PACKAGED, COMPILED = 0, 1, 2  # steps from today's deployment: variables, a package, a library to build
TRIM, MMAP, PAD, ARENAS = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_ARENA_MAX"

GRIDS: dict[str, tuple[dict[str, str], ...]] = {
    SYSTEM: (
        {},
        {ARENAS: "1"},
        {ARENAS: "2"},
        {TRIM: "131072"},
        {TRIM: "65536", PAD: "0"},
        {MMAP: "65536"},
        {TRIM: "131072", MMAP: "131072"},
        {ARENAS: "1", TRIM: "131072", MMAP: "131072"},
        {ARENAS: "2", TRIM: "131072", MMAP: "131072"},
        {TRIM: "268435456", PAD: "67108864", MMAP: "33554432"},
        {"glibc.malloc.tcache_count": "0"},
        {"glibc.malloc.tcache_count": "127"},
        {"glibc.malloc.hugetlb": "1"},
    ),
    "jemalloc": (
        {},
        {"dirty_decay_ms": "1000", "muzzy_decay_ms": "0"},
        {"dirty_decay_ms": "0", "muzzy_decay_ms": "0"},
        {"background_thread": "true"},
        {"background_thread": "true", "dirty_decay_ms": "1000", "muzzy_decay_ms": "0"},
        {"narenas": "1"},
        {"narenas": "1", "dirty_decay_ms": "0", "muzzy_decay_ms": "0"},
        {"tcache": "false", "dirty_decay_ms": "0", "muzzy_decay_ms": "0"},
    ),
    "mimalloc": (
        {},
        {"MIMALLOC_PURGE_DELAY": "0"},
        {"MIMALLOC_DECOMMIT_DELAY": "0"},
        {"MIMALLOC_EAGER_COMMIT": "0"},
        {"MIMALLOC_ABANDONED_PAGE_PURGE": "1"},
        {"MIMALLOC_ABANDONED_PAGE_DECOMMIT": "1"},
    ),
    "tcmalloc": (
        {},
        {"TCMALLOC_RELEASE_RATE": "10"},
        {"TCMALLOC_AGGRESSIVE_DECOMMIT": "1"},
        {"TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": "1048576"},
    ),
}


class CandidateError(UserError):
    """A program for which no malloc can be chosen. The text says why."""


@dataclass(frozen=True)
class Candidate:
    """A malloc with settings, as a change to what runs today."""

    text: str  # as `-a` of the other commands takes it; TODAY for no change
    family: str  # system, the name of a peer, or OURS
    malloc: str
    options: dict[str, str] = field(default_factory=dict, hash=False)
    steps: int = SAME_MALLOC
    contestant: Contestant | None = field(default=None, compare=False)

    @property
    def is_today(self) -> bool:
        return self.text == TODAY

    @property
    def is_preloaded(self) -> bool:
        return self.steps != SAME_MALLOC

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """The variables that the candidate sets."""
        return self.contestant.settings if self.contestant else ()

    @property
    def risks(self) -> list[str]:
        return [] if self.is_today else risks_of(self.family, self.options, self.is_preloaded)


@dataclass(frozen=True)
class Today:
    """What runs today: the malloc's family."""

    family: str = SYSTEM

    def steps_to(self, family: str) -> int:
        return SAME_MALLOC if family == self.family else COMPILED if family == OURS else PACKAGED


def today_candidate(today: Today) -> Candidate:
    """No change: today's malloc without further settings."""
    return replace(resolved([candidate(today, today.family, {})])[0], text=TODAY)


def grid(today: Today) -> list[Candidate]:
    """Every setting of every malloc that is installed, without those that change nothing."""
    libraries: dict[str, Path | None] = {SYSTEM: None, **installed_peers()}
    found = [
        candidate(today, family, options)
        for family, library in libraries.items()
        for options in offered(family, library)
        if options or family != today.family
    ]
    return found + [named(today, each) for each in OUR_MALLOCS]


def offered(family: str, library: Path | None) -> Iterator[dict[str, str]]:
    """The settings of a malloc's grid that its installed release knows."""
    known = known_names(family, library)
    return (options for options in GRIDS[family] if set(options) <= known)


def candidate(today: Today, family: str, options: Mapping[str, str]) -> Candidate:
    """A family's malloc with options, not yet looked up on this machine."""
    settings = ",".join(f"{name}={value}" for name, value in environment_of(family, options))
    text = f"{family}{{{settings}}}" if settings else family
    return Candidate(text, family, family, dict(options), today.steps_to(family))


def named(today: Today, text: str) -> Candidate:
    """The malloc that a user names, as for `-a`."""
    spec = parse(text)
    family = spec.malloc if spec.malloc in (SYSTEM, *PEERS) else OURS
    return Candidate(text, family, spec.malloc, dict(spec.settings), today.steps_to(family))


def resolved(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with their libraries. Those that heapwright compiles are compiled now."""
    found = contestants([each.text for each in candidates])
    return [replace(each, contestant=one) for each, one in zip(candidates, found, strict=True)]


# --- what runs today


def todays_malloc(command: str) -> Today:
    """The malloc that a command uses today.

    Raises CandidateError if there is no such program, or if no malloc can be put in the place of its own.
    """
    if not shutil.which(command):
        raise CandidateError(f"cannot run {command}: there is no such program")
    reason = why_unserved(command)
    if reason:
        raise CandidateError(f"no malloc can be chosen for {command}: it {reason}")
    path = executed(command)
    return Today(family_among(libraries_of(path))) if path else Today()


def libraries_of(path: str) -> Iterable[str]:
    """The libraries that the dynamic loader would load for an executable, in its order."""
    listed = subprocess.run([LOADER, "--list", path], capture_output=True, text=True, check=False, timeout=30)
    return (line.split()[0] for line in listed.stdout.splitlines() if line.split())


def family_among(libraries: Iterable[str]) -> str:
    """The peer among these libraries; the C library's malloc if there is none."""
    names = [Path(each).name for each in libraries]
    return next((peer for name in names for peer in PEERS if name.startswith(f"lib{peer}")), SYSTEM)
