"""Facts about a machine that its figures depend on, and the mallocs that are installed on it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

CPU_INFO = Path("/proc/cpuinfo")
TRIPLET = f"{platform.machine()}-linux-gnu"
FOLDERS = (
    "/usr/local/lib",
    f"/usr/local/lib/{TRIPLET}",
    "/usr/local/lib64",
    f"/usr/lib/{TRIPLET}",
    "/usr/lib64",
    "/usr/lib",
)


class Peer(NamedTuple):
    """A third-party malloc: the possible names of its library, the best first, and its Debian package."""

    libraries: tuple[str, ...]
    debian: str


PEERS = {
    "jemalloc": Peer(("libjemalloc.so*",), "libjemalloc2"),
    "mimalloc": Peer(("libmimalloc.so*",), "libmimalloc2.0"),
    "tcmalloc": Peer(("libtcmalloc_minimal.so*", "libtcmalloc.so*"), "libtcmalloc-minimal4"),
}


def machine_facts() -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "load": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def installed_peers() -> dict[str, Path]:
    """The libraries of the peers that are installed, by name."""
    found = {name: locate(name) for name in PEERS}
    return {name: path for name, path in found.items() if path is not None}


def locate(peer: str) -> Path | None:
    """The library of a peer, or None. If a folder holds several releases, the latest."""
    for pattern in PEERS[peer].libraries:
        for folder in FOLDERS:
            found = [path for path in Path(folder).glob(pattern) if path.is_file()]
            if found:
                return max(found, key=release)
    return None


def release(path: Path) -> list[int]:
    """The numbers in a library's name, so that a later release compares greater."""
    return [int(number) for number in re.findall(r"\d+", path.name)]
