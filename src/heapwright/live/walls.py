"""The reason why a process may not be read, and the way to get access.

Source: ptrace(2), "Ptrace access mode checking"; Linux, Documentation/admin-guide/LSM/Yama.rst.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

CAP_SYS_PTRACE = 19
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
SECCOMP_FILTER = 2
SCOPES = {
    1: "kernel.yama.ptrace_scope is 1, so only a parent may read it: run as root, or set it to 0 with sysctl",
    2: "kernel.yama.ptrace_scope is 2, so only root may read it: run as root",
    3: "kernel.yama.ptrace_scope is 3, so nobody may read another process until the next boot",
}

NAMESPACE = "it lives in another user namespace than heapwright, as in a container: run heapwright as root on the host"
FILTERED = (
    "a seccomp filter around heapwright refuses process_vm_readv: start the container with --cap-add=SYS_PTRACE, "
    "or with --security-opt seccomp=unconfined"
)


class Facts(NamedTuple):
    """The facts about the reader and the process that decide about access."""

    reader: int  # user ID
    has_capability: bool
    reader_is_filtered: bool
    owner: int  # user ID of the process
    shown_owner: int  # owner of its /proc folder: root if the process is not dumpable
    same_namespace: bool
    scope: int


def reason(facts: Facts) -> str:
    """The first obstacle, and what to do about it."""
    walls = (
        (facts.scope == 3, SCOPES[3]),
        (not facts.same_namespace, NAMESPACE),
        (facts.reader_is_filtered, FILTERED),
        (facts.has_capability, "a security module refuses it: see `dmesg`, AppArmor or SELinux"),
        (facts.reader == 0, "this root lacks CAP_SYS_PTRACE: start the container with --cap-add=SYS_PTRACE"),
        (facts.reader != facts.owner, f"it belongs to user {facts.owner}: run as that user, or as root"),
        (facts.shown_owner != facts.owner, "it is not dumpable (it changed its user, or called prctl): run as root"),
        (facts.scope > 0, SCOPES.get(facts.scope, "")),
    )
    return next((text for stands, text in walls if stands), "the kernel refuses it: run as root")


def reason_for(pid: int) -> str:
    return reason(facts_of(pid))


def facts_of(pid: int) -> Facts:
    mine, its = status_of("self"), status_of(str(pid))
    return Facts(
        reader=os.geteuid(),
        has_capability=bool(int(mine.get("CapEff", "0"), 16) >> CAP_SYS_PTRACE & 1),
        reader_is_filtered=mine.get("Seccomp") == str(SECCOMP_FILTER),
        owner=int(its.get("Uid", "0").split()[0]),
        shown_owner=owner_of(Path(f"/proc/{pid}/environ")),
        same_namespace=namespace_of("self") == namespace_of(str(pid)),
        scope=scope(),
    )


def status_of(who: str) -> dict[str, str]:
    """The fields of /proc/WHO/status; none if the process has ended."""
    try:
        lines = Path(f"/proc/{who}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def owner_of(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def namespace_of(who: str) -> str:
    """The user namespace; if it may not be read, the one that /proc shows through its map of users."""
    try:
        return str(Path(f"/proc/{who}/uid_map").read_text().split())
    except OSError:
        return ""


def scope() -> int:
    """Yama's setting; 0 without Yama."""
    try:
        return int(YAMA.read_text())
    except (OSError, ValueError):
        return 0
