"""What differs between versions of glibc: images by the offsets of each, and the libraries of other Debian releases."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import glibc_image
import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.look import look_at
from heapwright.spans import CACHED, FREE, OWN

SOURCE = Path(__file__).parent / "programs" / "shapes.c"
SHAPES = ("holes", "fast", "foreign", "walled", "lost", "mapped", "threads", "segments")
SUITES = {
    "2.31": "http://deb.debian.org/debian-security bullseye-security",
    "2.35": "http://archive.ubuntu.com/ubuntu jammy",
    "2.39": "http://archive.ubuntu.com/ubuntu noble",
    "2.41": "http://deb.debian.org/debian trixie",
    "2.42": "http://archive.ubuntu.com/ubuntu questing",
    "2.43": "http://deb.debian.org/debian forky",
    "2.44": "http://deb.debian.org/debian experimental",
}


@pytest.mark.parametrize("version", glibc_image.VERSIONS)
def test_an_image_of_each_layout(version):
    look = look_at(glibc_image.image_of(version))
    assert [arena.name for arena in look.arenas] == ["main arena", "arena 1"]
    assert not look.damage
    for chunks in look.chunks:
        sizes = dict(zip(chunks.kinds.tolist(), chunks.run.sizes.tolist(), strict=True))
        assert sizes[OWN] == (0x300 if version >= 42 else 0x290)
        cached = chunks.run.sizes[chunks.kinds == CACHED]
        assert cached.tolist() == [0x40, 0x40]
        free = chunks.run.sizes[chunks.kinds == FREE]
        assert free.tolist() == ([0x2000, 0x30] if version < 43 else [0x2000])
    [mapped] = look.mapped
    assert (mapped.start, mapped.end - mapped.start) == (glibc_image.MAPPED + 0x4000, 0x30000)
    assert not look.notes


def test_the_layout_is_told_by_the_shape_alone():
    kinds = {31: (31,), 34: (34,), 35: (36,), 42: (42,), 43: (43,)}
    for version, told in kinds.items():
        look = look_at(glibc_image.image_of(version))
        assert look.heaps[0].layout.version in told


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """Unpack the C library of another release, from $HEAPWRIGHT_GLIBC/VERSION or by apt; skip where neither can be."""

    def unpack(version):
        kept = Path(os.environ.get("HEAPWRIGHT_GLIBC", ""), version)
        if os.environ.get("HEAPWRIGHT_GLIBC") and kept.is_dir():
            return kept
        folder = tmp_path_factory.mktemp(version)
        if not fetched(SUITES[version], version, folder):
            pytest.skip(f"apt cannot fetch libc6 {version}")
        return folder / "root"

    return unpack


def fetched(suite, version, folder):
    if not shutil.which("apt-get") or os.getuid() != 0:
        return False
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "archives" / "partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] {suite} main\n")
    options = [f"-oDir::Etc::sourcelist={folder}/sources.list", "-oDir::Etc::sourceparts=-"]
    options += [f"-oDir::State::lists={folder}/lists", f"-oDir::Cache={folder}"]
    quiet = {"cwd": folder, "capture_output": True, "timeout": 60, "text": True}
    subprocess.run(["apt-get", *options, "update"], check=False, **quiet)
    known = subprocess.run(["apt-cache", *options, "madison", "libc6"], check=False, **quiet).stdout
    wanted = [each for line in known.splitlines() if (each := line.split("|")[1].strip()).startswith(version)]
    if wanted:
        subprocess.run(["apt-get", *options, "download", f"libc6:amd64={wanted[0]}"], check=False, **quiet)
    packages = list(folder.glob("libc6_*.deb"))
    return (
        bool(packages) and subprocess.run(["dpkg-deb", "-x", packages[0], folder / "root"], check=False).returncode == 0
    )


def built_for(root, version, tmp_path):
    """The program, linked against a release's own library where ours is newer; and the command that runs it there."""
    library = next(path.parent for path in root.rglob("libc.so.6"))
    loader = next(path for path in sorted(library.glob("ld-*.so*")))
    output, flags = tmp_path / "shapes", ["-pthread", "-ldl"]
    if version == "2.31":
        names = ("libc.so.6", "libpthread.so.0", "libdl.so.2", loader.name)
        flags = ["-DBEFORE_2_33", "-w", "-fno-stack-protector", "-nodefaultlibs"]
        flags += [str(library / name) for name in names] + ["-lgcc"]
    subprocess.run(["gcc", "-O1", "-o", output, SOURCE, *flags], check=True)
    return [loader, "--library-path", library, output]


@pytest.mark.slow
@pytest.mark.parametrize("version", SUITES)
def test_the_real_library_of_each_release(version, libraries, program, tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    command = built_for(libraries(version), version, tmp_path)
    for shape in SHAPES:
        running = program(*command, shape)
        look = inspect(running.pid)
        system, free, _, blocks, mapped = map(int, running.ask("info").split())
        assert f"2.{look.heaps[0].layout.version}" == version, shape
        assert not look.damage, shape
        assert sum(arena.system_bytes for arena in look.arenas) == system, shape
        assert abs(sum(arena.free_bytes for arena in look.arenas) - free) <= 16 * len(look.arenas), shape
        assert len(look.mapped) == blocks, shape
        assert abs(sum(chunk.end - chunk.start for chunk in look.mapped) - mapped) < 4096, shape
        gained = int(running.ask("trim"))
        assert abs(look.returnable.resident - gained) <= max(0.01 * gained, 32 << 10), shape
