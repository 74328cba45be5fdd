"""What must be known about a machine to read its numbers, and which other mallocs are installed on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")
FOLDERS = ("/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
PEERS = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2.0",
    "tcmalloc": "libtcmalloc_minimal.so.4",
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
    found = {name: locate(file) for name, file in PEERS.items()}
    return {name: path for name, path in found.items() if path is not None}


def locate(file: str) -> Path | None:
    return next((Path(folder, file) for folder in FOLDERS if Path(folder, file).exists()), None)
