"""The lines that put a recommendation into use: a shell, a Dockerfile, a systemd unit, Kubernetes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from heapwright.advise.candidates import OURS, Candidate
from heapwright.lab.machine_facts import PEERS, TRIPLET
from heapwright.lab.programs import C_LIBRARY

OUR_FOLDER = "/usr/local/lib"


class Package(NamedTuple):
    """A package of Debian and the library in it."""

    name: str
    library: str


PACKAGES = {  # by the release of Debian; packages.debian.org lists their files
    "jemalloc": {
        "bookworm": Package("libjemalloc2", "libjemalloc.so.2"),
        "trixie": Package("libjemalloc2", "libjemalloc.so.2"),
    },
    "mimalloc": {
        "bookworm": Package("libmimalloc2.0", "libmimalloc.so.2"),
        "trixie": Package("libmimalloc3", "libmimalloc.so.3"),
    },
    "tcmalloc": {
        "bookworm": Package("libtcmalloc-minimal4", "libtcmalloc_minimal.so.4"),
        "trixie": Package("libtcmalloc-minimal4t64", "libtcmalloc_minimal.so.4"),
    },
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
    packages = PACKAGES.get(candidate.family, {})
    return [
        f"apt-get install {package.name}  # Debian {release}{warning(candidate, package)}"
        for release, package in packages.items()
    ]


def warning(candidate: Candidate, package: Package) -> str:
    """What to mind about a package whose library is not the one that was measured: the dynamic linker would skip it."""
    if Path(library_of(candidate)).name.startswith(package.library):
        return ""
    return f": its library is {package.library}, another release than the one that was measured"


def docker_install(candidate: Candidate) -> list[str]:
    """The lines of a Dockerfile that bring the library into the image."""
    if candidate.is_preloaded and candidate.family == OURS:
        return [f"COPY {our_name(candidate)} {OUR_FOLDER}/"]
    if candidate.is_preloaded and candidate.family in PEERS:
        release, package = measured_package(candidate)
        install = f"apt-get install -y --no-install-recommends {package.name}"
        return [
            f"# Debian {release}, {TRIPLET}",
            f"RUN apt-get update && {install} && rm -rf /var/lib/apt/lists/*",
        ]
    return []


def measured_package(candidate: Candidate) -> tuple[str, Package]:
    """The first release of Debian, and its package, with the library that was measured; the latest if none has it."""
    packages = PACKAGES[candidate.family]
    found = [(release, each) for release, each in packages.items() if not warning(candidate, each)]
    return next(iter(found), list(packages.items())[-1])


def quoted(value: str) -> str:
    return f'"{value}"'


def kubernetes(name: str, value: str) -> list[str]:
    return [f"  - name: {name}", f"    value: {quoted(value)}"]
