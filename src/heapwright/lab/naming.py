"""The mallocs to run and measure, parsed from the argument of `-a`.

    kr   locked(kr)   mine.py   mine/   an allocator of heapwright's or the user's own, compiled
    system                              the C library's malloc
    jemalloc   mimalloc   tcmalloc      a peer that is installed
    /path/libmine.so                    any library that exports malloc
    LABEL=...                           any of these under another name: LABEL=/path/libmine.so
    ...{VARIABLE=VALUE,OTHER=VALUE}     any of these with an environment: system{MALLOC_ARENA_MAX=1}

The text of an allocator is passed on unchanged, so it may contain `=` and commas in brackets. A comma in braces
separates two variables only if a name and `=` follow, because values such as jemalloc's may contain commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heapwright.allocator import load
from heapwright.errors import UserError
from heapwright.lab.contestant import Contestant
from heapwright.lab.machine_facts import PEERS, locate
from heapwright.lab.sample import RunError
from heapwright.native.library import counter_library, library_of

SYSTEM = "system"
FORM = re.compile(r"(?:(?P<label>[^=/()\[\]{}]+)=)?(?P<malloc>[^{}]+)(?P<braces>\{(?P<settings>.*)\})?", re.S)
SETTING = re.compile(r"([A-Za-z_]\w*)=(.*)", re.S)
NEXT_SETTING = re.compile(r",(?=[A-Za-z_]\w*=)")
SHARED_OBJECT = re.compile(r".*\.so(\.[\w.]+)?")
RESERVED = re.compile(r"LD_PRELOAD|LD_AUDIT|HEAPWRIGHT_.*")  # these select the malloc and what it does


class ContestantError(UserError):
    """A malloc that does not exist, or a library that does not export malloc. The text says what to do, in one line."""


@dataclass(frozen=True)
class Spec:
    """The parsed text of one `-a`."""

    name: str
    malloc: str
    is_labelled: bool
    settings: tuple[tuple[str, str], ...]

    @property
    def is_library(self) -> bool:
        """Whether the malloc is a path to a compiled library: with a label, any path that is not a Python file."""
        name = Path(self.malloc).name
        if self.malloc.endswith((".py", ")")) or (name and self.malloc.endswith("/")):
            return False
        return bool(SHARED_OBJECT.fullmatch(name)) or (self.is_labelled and "/" in self.malloc)

    @property
    def is_compiled(self) -> bool:
        """Whether heapwright compiles the malloc."""
        return self.malloc != SYSTEM and self.malloc not in PEERS and not self.is_library


def contestants(texts: Iterable[str], *, counted: bool = False) -> list[Contestant]:
    """The mallocs of several `-a`, each once and in order. Those that heapwright compiles are compiled last.

    If `counted`, each runs under the `counted` layer, which only heapwright's and the C library's can do.
    Raises UserError for the first malloc that is missing or fails, and if two share a name.
    """
    specs = [parse(text) for text in dict.fromkeys(texts)]
    refuse_doubles([spec.name for spec in specs])
    found = {spec: ready(spec, counted) for spec in specs if not spec.is_compiled}
    for spec in specs:
        if spec.is_compiled:
            load(spec.malloc)
    return [found.get(spec) or compiled(spec, counted) for spec in specs]


def contestant(text: str, *, counted: bool = False) -> Contestant:
    """The malloc of one `-a`."""
    return contestants([text], counted=counted)[0]


# --- parsing


def parse(text: str) -> Spec:
    """Parse the argument of `-a`, without looking anything up."""
    found = FORM.fullmatch(text.strip())
    if not found:
        raise ContestantError(f"'{text}' is not a malloc: write NAME, LABEL=/path/lib.so, or NAME{{VARIABLE=VALUE}}")
    malloc, label = found["malloc"].strip(), found["label"]
    each_setting = NEXT_SETTING.split(found["settings"]) if found["braces"] else []
    settings = tuple(setting(each, text) for each in each_setting)
    plain = label.strip() if label else name_of(malloc)
    return Spec(plain + (found["braces"] or ""), malloc, label is not None, settings)


def name_of(malloc: str) -> str:
    """The name of a malloc without a label; for a library, its file name."""
    return Path(malloc).name if SHARED_OBJECT.fullmatch(malloc) else malloc


def setting(text: str, whole: str) -> tuple[str, str]:
    found = SETTING.fullmatch(text.strip())
    if not found:
        raise ContestantError(f"'{text}' in '{whole}' is not VARIABLE=VALUE")
    if RESERVED.fullmatch(found[1]):
        raise ContestantError(f"{found[1]} in '{whole}' is heapwright's to set: name a library as LABEL=/path/lib.so")
    return found[1], found[2]


def refuse_doubles(names: Sequence[str]) -> None:
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise ContestantError(f"two mallocs are named '{doubled}': give one of them another name, as LABEL=...")


# --- libraries


def ready(spec: Spec, counted: bool) -> Contestant:
    """A malloc that needs no compiling. Its library is tried out now."""
    if spec.malloc == SYSTEM:
        return Contestant(spec.name, counter_library() if counted else None, spec.settings)
    if counted:
        raise ContestantError(f"--stats counts an allocator of heapwright's, or 'system', but not {spec.name}")
    found = Contestant(spec.name, library_path(spec), spec.settings)
    require_malloc(found)
    return found


def library_path(spec: Spec) -> Path:
    """The library of a peer, or at a path."""
    path = locate(spec.malloc) if spec.malloc in PEERS else Path(spec.malloc)
    if path is None:
        raise ContestantError(f"{spec.malloc} is not installed: apt-get install {PEERS[spec.malloc].debian} (Debian)")
    if not path.is_file():
        raise ContestantError(f"there is no library {path}")
    return path.resolve()


def compiled(spec: Spec, counted: bool) -> Contestant:
    return Contestant(spec.name, library_of(spec.malloc, counted).resolve(), spec.settings, is_ours=True)


def require_malloc(contestant: Contestant) -> None:
    """Raise ContestantError unless a process that preloads the library gets its malloc from there."""
    from heapwright.lab.replay import probe

    try:
        probe(contestant)
    except RunError as error:
        raise ContestantError(f"{contestant.name}: a process {error}") from error
