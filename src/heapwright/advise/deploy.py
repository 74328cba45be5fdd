"""The lines that put a recommendation into use: a shell, a Dockerfile, a systemd unit, Kubernetes."""

from __future__ import annotations

import shlex
from pathlib import Path

from heapwright.advise.candidates import OURS, Candidate
from heapwright.lab.machine_facts import PEERS, TRIPLET
from heapwright.lab.programs import C_LIBRARY

OUR_FOLDER = "/usr/local/lib"
PACKAGES = {  # by the release of Debian
    "jemalloc": {"bookworm": "libjemalloc2", "trixie": "libjemalloc2"},
    "mimalloc": {"bookworm": "libmimalloc2.0", "trixie": "libmimalloc3"},
    "tcmalloc": {"bookworm": "libtcmalloc-minimal4", "trixie": "libtcmalloc-minimal4t64"},
}


def deployment(candidate: Candidate, command: str = "./program") -> dict[str, list[str]]:
    """The lines for each kind of deployment."""
    variables = variables_of(candidate)
    return {
        "preparation": preparation(candidate),
        "shell": [" ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables), command])],
        "Dockerfile": [*docker_install(candidate), *(f"ENV {name}={quoted(value)}" for name, value in variables)],
        "systemd": ["[Service]", *(f"Environment={quoted(f'{name}={value}')}" for name, value in variables)],
        "Kubernetes": ["env:", *(line for pair in variables for line in kubernetes(*pair))],
    }


def variables_of(candidate: Candidate) -> list[tuple[str, str]]:
    """The variables to set: the malloc's library, if it is not today's, and its settings."""
    preload = [("LD_PRELOAD", library_of(candidate))] if candidate.is_preloaded else []
    return [*preload, *candidate.environment]


def library_of(candidate: Candidate) -> str:
    """The library to preload, at the path where it was found or where our lines put it."""
    library = candidate.contestant.library if candidate.contestant else None
    if library is None:
        return C_LIBRARY
    return str(soname(library)) if candidate.family in PEERS else f"{OUR_FOLDER}/{our_name(candidate)}"


def soname(library: Path) -> Path:
    """The link to a library without the last parts of its version, if there is one: it survives an update."""
    links = [each for each in library.parent.glob(f"{library.name.partition('.so')[0]}.so.*") if each.is_symlink()]
    same = [each for each in links if each.resolve() == library]
    return min(same, key=lambda each: len(each.name), default=library)


def our_name(candidate: Candidate) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in Path(candidate.malloc).name).strip("-")
    return f"libheapwright-{plain}.so"


def preparation(candidate: Candidate) -> list[str]:
    """What to install or build first."""
    if not candidate.is_preloaded:
        return []
    if candidate.family == OURS:
        return [f"heapwright build {shlex.quote(candidate.malloc)} -o {OUR_FOLDER}/{our_name(candidate)}"]
    names = PACKAGES.get(candidate.family, {})
    return [f"apt-get install {package}  # Debian {release}" for release, package in names.items()]


def docker_install(candidate: Candidate) -> list[str]:
    """The lines of a Dockerfile that bring the library into the image."""
    if candidate.is_preloaded and candidate.family == OURS:
        return [f"COPY {our_name(candidate)} {OUR_FOLDER}/"]
    if candidate.is_preloaded and candidate.family in PEERS:
        package = PEERS[candidate.family].debian
        install = f"apt-get install -y --no-install-recommends {package}"
        return [f"RUN apt-get update && {install} && rm -rf /var/lib/apt/lists/*  # {TRIPLET}"]
    return []


def quoted(value: str) -> str:
    return f'"{value}"'


def kubernetes(name: str, value: str) -> list[str]:
    return [f"  - name: {name}", f"    value: {quoted(value)}"]
