"""Programs in other namespaces: their files are found below their own root, whatever ours has under the same path."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from heapwright.lab.inspect import inspect
from heapwright.live import process
from heapwright.live.report import report_of

SOURCE = Path(__file__).parent / "programs" / "shapes.c"
LIBC, LOADER = Path("/lib/x86_64-linux-gnu/libc.so.6"), Path("/lib64/ld-linux-x86-64.so.2")
STARTS = {
    "chroot": "mount -t proc proc $0/proc && exec chroot $0 /bin/shapes threads",
    "mounted": "mount --bind $0 $0 && mount -t proc proc $0/proc && cd $0 && pivot_root . old && "
    "exec /bin/shapes threads",
}
SEPARATE = ("unshare", "--mount", "--pid", "--fork")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root of its own with a program and its C library, which is not the file that ours has."""
    if os.getuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root may make namespaces")
    if subprocess.run([*SEPARATE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the kernel refuses new namespaces")
    if not shutil.which("gcc") or not LIBC.exists() or not LOADER.exists():
        pytest.skip("gcc is not installed, or the C library is elsewhere")
    folder = tmp_path_factory.mktemp("root")
    for file in (LIBC, LOADER):
        (folder / file.parent.relative_to("/")).mkdir(parents=True)
        shutil.copy(file, folder / file.relative_to("/"))
    for name in ("bin", "old", "proc"):
        (folder / name).mkdir()
    subprocess.run(["gcc", "-O1", "-pthread", "-o", folder / "bin" / "shapes", SOURCE, "-ldl"], check=True)
    return folder


@pytest.fixture(params=STARTS)
def contained(request, program, root):
    """The number, as it is here, of a program that runs as process 1 of its namespace."""
    running = program(*SEPARATE, "sh", "-c", STARTS[request.param], root)
    [pid] = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split()[:2] == [pid, "1"]
    return running, pid


@pytest.mark.parametrize("has_links", [True, False])
def test_a_program_in_a_container(contained, has_links, monkeypatch):
    running, pid = contained
    if not has_links:  # without CAP_SYS_ADMIN, /proc/PID/map_files may not be followed
        monkeypatch.setattr(process.os, "access", lambda path, mode: False)
    look = inspect(pid)
    found = report_of(look)
    assert look.heaps[0].found.parameters and look.heaps[0].library.endswith("libc.so.6")
    assert [module.path.rpartition("/")[2] for module in look.source.modules()][0] == "shapes"
    system, free, _, blocks, mapped = map(int, running.ask("info").split())
    assert sum(arena.system_bytes for arena in look.arenas) == system
    assert not found["damage"]
    assert len(found["arenas"]) == 5
    gained = int(running.ask("trim"))
    assert abs(found["returnable_bytes"] - gained) <= max(0.01 * gained, 32 << 10)


def test_a_path_that_leads_to_another_file_is_not_taken(contained, monkeypatch):
    _, pid = contained
    look = inspect(pid)
    monkeypatch.setattr(process.os, "access", lambda path, mode: False)
    library = next(mapping for mapping in look.source.mappings if mapping.path.endswith("libc.so.6"))
    found = look.source.open_file(library)
    assert found is not None and found.stat().st_ino == library.inode != LIBC.stat().st_ino
    library.inode += 1
    assert look.source.open_file(library) is None
