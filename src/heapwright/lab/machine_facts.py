"""What must be known about a machine to read its numbers, and which other mallocs are installed on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

CPU_INFO = Path("/proc/cpuinfo")
FOLDERS = ("/usr/local/lib", f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64", "/usr/lib")


class Peer(NamedTuple):
    """Another malloc: its library, and the Debian package that brings it."""

    library: str
    debian: str


PEERS = {
    "jemalloc": Peer("libjemalloc.so.2", "libjemalloc2"),
    "mimalloc": Peer("libmimalloc.so.2.0", "libmimalloc2.0"),
    "tcmalloc": Peer("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
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
    """The mallocs that this machine's distribution has installed, by name."""
    found = {name: locate(peer.library) for name, peer in PEERS.items()}
    return {name: path for name, path in found.items() if path is not None}


def locate(file: str) -> Path | None:
    """Where a library lies, if it is installed."""
    return next((Path(folder, file) for folder in FOLDERS if Path(folder, file).exists()), None)
