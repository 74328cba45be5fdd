"""What the environment sets of a compiled heap: of ptmalloc all that it sets of the C library's, in the same way."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from heapwright.native.library import library_of

FEW = "glibc.malloc.tcache_count=5"  # else the caches of an older C library keep fewer chunks than ours
USUAL = "arena 135168 filled 0 freed 0 mapped 010 trims 1 cached 5 5 arenas 13"
SETTINGS = {
    "nothing": {},
    "no pad": {"MALLOC_TOP_PAD_": "0"},
    "a large pad": {"MALLOC_TOP_PAD_": "0xf4240"},
    "in octal": {"MALLOC_TOP_PAD_": "01750000"},
    "bytes to fill": {"MALLOC_PERTURB_": "165"},
    "a mapping threshold": {"MALLOC_MMAP_THRESHOLD_": "80000"},
    "no mappings": {"MALLOC_MMAP_MAX_": "0"},
    "no trimming": {"MALLOC_TRIM_THRESHOLD_": "-1"},
    "a trim threshold": {"MALLOC_TRIM_THRESHOLD_": " 2000000"},
    "one arena": {"MALLOC_ARENA_MAX": "1"},
    "three arenas": {"MALLOC_ARENA_MAX": "3"},
    "arenas before a test": {"MALLOC_ARENA_TEST": "2"},
    "checks that are no more": {"MALLOC_CHECK_": "3"},
    "no byte": {"MALLOC_PERTURB_": "256"},
    "no arena": {"MALLOC_ARENA_MAX": "0"},
    "caches": {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=12"},
    "no caches": {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"},
    "small caches": {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.tcache_max=500"},
    "a limit to sorting": {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.tcache_unsorted_limit=3"},
    "several": {"GLIBC_TUNABLES": f"glibc.malloc.perturb=1:{FEW}:glibc.malloc.top_pad=8192:glibc.malloc.arena_max=2"},
    "a tunable before a variable": {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.arena_max=4", "MALLOC_ARENA_MAX": "2"},
    "one that is out of range": {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.perturb=999", "MALLOC_PERTURB_": "7"},
    "another room's": {"GLIBC_TUNABLES": f"glibc.rtld.nns=4:{FEW}"},
}


def run(command, spec=None, **environment):
    """The line that a command prints, under a malloc of ours or the C library's."""
    preload = {"LD_PRELOAD": str(library_of(spec))} if spec else {}
    environment = {"GLIBC_TUNABLES": FEW, "PATH": os.environ["PATH"], **environment, **preload}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize("name", SETTINGS)
def test_ptmalloc_is_set_as_the_c_library_is(compiled, name):
    ours, theirs = (run(compiled("settings"), spec, **SETTINGS[name]) for spec in ("ptmalloc", None))
    assert ours == theirs
    without = ("nothing", "checks", "no byte", "no arena", "arenas before", "a limit", "another room")
    assert (ours == USUAL) == name.startswith(without)


@pytest.mark.parametrize(
    "settings",
    [
        {"MALLOC_TOP_PAD_": "many"},
        {"MALLOC_TOP_PAD_": "12 "},
        {"MALLOC_TOP_PAD_": ""},
        {"MALLOC_TOP_PAD_": "0y"},
        {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.top_pad=1k"},
        {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.top_pad"},
        {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.top_pad=1=2"},
        {"GLIBC_TUNABLES": f"{FEW}:glibc.malloc.top=1"},
        {"GLIBC_TUNABLES": "glibc.rtld.enable_secure=1", "MALLOC_TOP_PAD_": "0"},
    ],
    ids=str,
)
def test_what_is_no_setting_is_ignored(compiled, settings):
    """As since glibc 2.42; before, such a value was what its first letters say."""
    assert run(compiled("settings"), "ptmalloc", **settings).startswith("arena 135168 ")


@pytest.mark.parametrize("spec", ["hoard", "slab", "dlmalloc", "kr"])
def test_other_allocators_have_no_settings(compiled, spec):
    settings = {"MALLOC_TOP_PAD_": "0", "MALLOC_PERTURB_": "165", "MALLOC_ARENA_MAX": "1"}
    assert run(compiled("settings"), spec) == run(compiled("settings"), spec, **settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a program to another user")
def test_a_program_with_more_rights_than_its_user_gets_no_settings(compiled):
    """It is linked with the library, for nothing is preloaded under it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        library = shutil.copy(library_of("ptmalloc"), Path(folder, "heap.so"))
        Path(library).chmod(0o755)
        program = Path(folder, "program")
        shutil.copy(compiled("settings", str(library)), program)
        settings = {"MALLOC_TOP_PAD_": "0", "GLIBC_TUNABLES": f"{FEW}:glibc.malloc.perturb=165"}
        assert run(program, **settings).startswith("arena 4096 filled 90 ")
        os.chown(program, 65534, 65534)
        program.chmod(0o4755)
        line = run(program, **settings)
    assert line.startswith("arena 135168 filled 0 ")
    assert " cached 16 1" in line


def test_the_first_malloc_of_a_process_has_its_settings(compiled):
    """Also one that the constructor of another library makes, before ours."""
    library = ["-shared", "-fPIC", "-DBEFORE"]
    early = compiled("early", *library)
    ours, theirs = (run(compiled("early", str(early)), spec, MALLOC_TOP_PAD_="0") for spec in ("ptmalloc", None))
    assert ours == theirs != run(compiled("early", str(early)), "ptmalloc")
