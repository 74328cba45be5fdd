"""mallinfo2, malloc_info, mallopt and malloc_trim of compiled heaps: ptmalloc's are the C library's, to the byte."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import xml.etree.ElementTree as ET  # our own XML

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.native.library import library_of

SAME_DESIGN = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"}  # no caches, no fast bins
FIELDS = "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
M_MXFAST = 1
IN_MAPPINGS = ("ptmalloc", "dlmalloc", "hoard", "slab", "segregated_storage", "pages", "pages_split", "wright")


@pytest.fixture
def asked(compiled):
    """What mallinfo.c prints under the C library's malloc (None) or one of ours."""

    def run(spec, *arguments, **environment):
        preload = {"LD_PRELOAD": str(library_of(spec))} if spec else {}
        command, environment = [compiled("mallinfo"), *map(str, arguments)], {**os.environ, **preload, **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)

    return run


@pytest.mark.parametrize("largest", [8000, 60_000, 500_000, 5_000_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ptmalloc_says_what_the_c_library_says(asked, seed, largest):
    """All ten numbers, every few requests."""
    ours, theirs = (asked(spec, seed, 400, largest, **SAME_DESIGN).stdout for spec in ("ptmalloc", None))
    assert ours.count("\n") > 50
    assert ours == theirs


def test_mallopt_answers_as_the_c_library_does(asked):
    ours, theirs = (asked(spec, "mallopt").stdout.splitlines() for spec in ("ptmalloc", None))
    assert len(ours) == 80

    def others(lines):  # glibc before 2.43 has fast bins
        return [line for line in lines if line.split()[0] != str(M_MXFAST)]

    assert others(ours) == others(theirs)
    assert all(line.endswith(" 1") for line in ours)


@pytest.mark.parametrize("pad", [0, 1, 5000, 65_536, 1 << 20, (1 << 64) - 1])
def test_malloc_trim_keeps_its_pad(asked, pad):
    ours, theirs = (asked(spec, "trim", pad, **SAME_DESIGN).stdout for spec in ("ptmalloc", None))
    assert ours == theirs


def shape(element):
    """An element without its numbers: names, kinds and what is in it."""
    return element.tag, element.get("type"), sorted(element.keys()), [shape(each) for each in element]


def rest_of(heap):
    """The number of free blocks in an arena, and their bytes."""
    rest = heap.find("total[@type='rest']")
    return int(rest.get("count")), int(rest.get("size"))


def test_malloc_info_is_the_c_librarys_arena_by_arena(asked):
    ours, theirs = (asked(spec, "xml", **SAME_DESIGN) for spec in ("ptmalloc", None))
    assert ours.stderr == theirs.stderr == "22 0\n"
    mine, usual = (ET.fromstring(each.stdout) for each in (ours, theirs))  # noqa: S314
    for element in [usual, *usual.findall("heap")]:  # of fast bins, which are no more
        for fast in element.findall("total[@type='fast']"):
            element.remove(fast)
    assert shape(mine) == shape(usual)
    for element in ("system", "aspace"):
        assert [each.attrib for each in mine.find("heap").findall(element)] == [
            each.attrib for each in usual.find("heap").findall(element)
        ]
    (count, size), (usual_count, usual_size) = rest_of(mine.find("heap")), rest_of(usual.find("heap"))
    assert count == usual_count == 33 and abs(size - usual_size) < 100, "the C library counts a flag of each size, too"
    for heap in mine.findall("heap"):
        lists = [*heap.iter("size"), *heap.iter("unsorted")]
        assert sum(int(each.get("count")) for each in lists) == rest_of(heap)[0] - 1 == 32
        assert all(int(each.get("from")) <= int(each.get("to")) <= int(each.get("total")) for each in lists)


PROBE = """
import ctypes, json
libc = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in {fields}]
libc.mallinfo2.restype = Info
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
def ask():
    info = libc.mallinfo2()
    return [getattr(info, name) for name, _ in Info._fields_]
libc.free.argtypes = [ctypes.c_void_p]
seen = [ask()]
blocks = [libc.malloc(10 ** 6) for _ in range(10)]
seen.append(ask())
small = [libc.malloc(3000) for _ in range(1000)]
seen.append(ask())
for block in (*blocks, *small):
    libc.free(block)
seen.append(ask())
print(json.dumps(seen))
"""


@pytest.mark.parametrize("spec", ALLOCATORS)
def test_ten_blocks_of_a_megabyte_are_counted_once(spec):
    import json

    code = PROBE.replace("{fields}", repr(FIELDS))
    environment = {**os.environ, "LD_PRELOAD": str(library_of(spec))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    before, mapped, small, after = (dict(zip(FIELDS, each, strict=True)) for each in json.loads(done.stdout))
    for each in (before, mapped, small, after):
        assert each["arena"] == each["uordblks"] + each["fordblks"]
        assert not each["smblks"] and not each["usmblks"] and not each["fsmblks"]
        assert each["keepcost"] <= each["fordblks"] and (each["ordblks"] > 0) == (each["fordblks"] > 0)
    total = [each["uordblks"] + each["hblkhd"] for each in (before, mapped, small, after)]
    assert 10**7 <= total[1] - total[0] < 10**7 * 1.12 and 2.9 * 10**6 <= total[2] - total[1] < 5 * 10**6
    assert total[3] - total[0] < 2 * 10**6, "caches, but no more"
    blocks = mapped["hblks"] - before["hblks"]
    assert blocks == (10 if spec in IN_MAPPINGS else 0)
    assert (mapped["hblkhd"] - before["hblkhd"] >= 10**7) == (blocks > 0)


def test_mallinfo_in_ints_is_the_same_up_to_the_largest_int():
    code = PROBE.replace("{fields}", repr(FIELDS)) + (
        "class Ints(ctypes.Structure):\n    _fields_ = [(name, ctypes.c_int) for name, _ in Info._fields_]\n"
        "libc.mallinfo.restype = Ints\n"
        "held = libc.malloc(3 << 30)\nwide, narrow = libc.mallinfo2(), libc.mallinfo()\n"
        "assert wide.hblkhd > 3 << 30 and narrow.hblkhd == 2 ** 31 - 1, (wide.hblkhd, narrow.hblkhd)\n"
        "assert narrow.hblks == wide.hblks\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(library_of("ptmalloc"))}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_the_struct_has_ten_words():
    from heapwright.native.runtime.mallinfo import Mallinfo2

    assert tuple(field.name for field in Mallinfo2) == FIELDS and 10 * ctypes.sizeof(ctypes.c_size_t) == Mallinfo2.SIZE
