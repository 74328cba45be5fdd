"""Variants: allocators with other values of their constants, in both worlds."""

import subprocess
import sys

import pytest
from heaps import fresh

from heapwright.allocator import load
from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject, Verdict, checks_for, run
from heapwright.describe import describe
from heapwright.errors import AllocatorError
from heapwright.native.ingredients import key_of
from heapwright.variants import base_of, settings_of, tunables_of

EXAMPLES = (
    "hoard[SUPERBLOCK=131072]",
    "hoard[K=0]",
    "kr[MIN_GROWTH=1]",
    "segregated_fits[LISTS=1]",
    "slab[WARM=1,MAX_ROUNDS=2]",
    "dlmalloc[FOOTERS=1]",
    "ptmalloc[VERSION=236]",
    "wright[MESHED=1]",
    "wright[HARDENED=1]",
)
MINE = '''"""Mine."""

from heapwright.allocators.kr import Heap, alloc, check, dealloc, walk  # noqa: F401

TUNABLES = (("STEP", "STEP", range(8, 64, 8)),)
STEP = 8
RETAINS = "all of it"
'''


def test_the_constant_is_another_and_the_allocator_the_same():
    variant = load("hoard[SUPERBLOCK=131072]")
    plain, larger = load("hoard").parts[0], variant.parts[0]
    assert larger.superblocks.SUPERBLOCK == 2 * plain.superblocks.SUPERBLOCK
    assert larger.heaps.SLACK == 2 * plain.heaps.SLACK, "what is derived from it follows"
    assert load("hoard").parts[0].superblocks.SUPERBLOCK == plain.superblocks.SUPERBLOCK
    assert (variant.spec, variant.name) == ("hoard[SUPERBLOCK=131072]", "hoard")


def test_it_may_stand_in_a_stack():
    heap = fresh("locked(kr[MIN_GROWTH=1])")
    assert heap.alloc(100) and heap.memory.held() < fresh("kr").memory.held() + 4096


def test_smaller_growth_holds_less():
    assert held_after_one("kr[MIN_GROWTH=1]") < held_after_one("kr")


def held_after_one(spec):
    heap = fresh(spec)
    heap.alloc(100)
    return heap.memory.held()


@pytest.mark.parametrize(
    "spec", [spec if "kr" in spec else pytest.param(spec, marks=pytest.mark.long) for spec in EXAMPLES]
)
def test_a_variant_is_a_heap(spec):
    subject = Subject(spec)
    misuse = "double_free", "foreign_free", "interior_free", "wrong_size", "copies"
    checks = checks_for(("lint", "numbered", "own_invariants", "U", *misuse, "sizes"))
    failed = [each for each in run(subject, checks) if each.verdict is Verdict.FAILS]
    assert failed == []


@pytest.mark.parametrize("name", ALLOCATORS)
def test_each_tunable_names_a_constant_and_allows_its_value(name):
    plain = load(name)
    for each, tunable in tunables_of(describe(name).path).items():
        value = next(iter(tunable.values))
        assert f"\n{tunable.constant} = " in tunable.file.read_text(), each
        assert plain.parts[0].TUNABLES and load(f"{name}[{each}={value}]")


def test_each_has_a_key_of_its_own():
    specs = ["kr", "kr[MIN_GROWTH=1]", "kr[MIN_GROWTH=2]"]
    assert len({key_of(load(spec)) for spec in specs}) == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("hoard[SUPERBLOK=65536]", "hoard has no tunable 'SUPERBLOK': did you mean 'SUPERBLOCK'?"),
        ("hoard[SUPERBLOCK=5]", "SUPERBLOCK of hoard is 65536 or 131072 or 262144, not 5"),
        ("kr[MIN_GROWTH=0]", "MIN_GROWTH of kr is 1 to 1048575, not 0"),
        ("buddy[X=1]", "buddy has no tunables, and so no variants"),
        ("wright[HARDENED=1,MESHED=1]", "wright cannot have HARDENED and MESHED at once: set one of them"),
        ("hoard[K]", "'hoard[K]' is not a variant: write it as hoard[NAME=NUMBER,NAME=NUMBER]"),
        ("hoard[K=x]", "'hoard[K=x]' is not a variant"),
        ("nobody[K=1]", "no allocator is named 'nobody'"),
    ],
)
def test_what_is_none_is_refused(spec, said):
    with pytest.raises(AllocatorError) as caught:
        load(spec)
    assert said in str(caught.value)


def test_a_users_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    assert (load(str(path)).parts[0].STEP, load(f"{path}[STEP=16]").parts[0].STEP) == (8, 16)
    with pytest.raises(AllocatorError, match="STEP of .*mine.py is 8 to 56 in steps of 8, not 9"):
        load(f"{path}[STEP=9]")


def test_names():
    assert (base_of("kr"), base_of("a/b.py[X=1]"), settings_of("kr")) == ("kr", "a/b.py", {})
    assert settings_of("hoard[K=2, SUPERBLOCK=0x10000]") == {"K": 2, "SUPERBLOCK": 65536}


@pytest.mark.long
def test_compiled_it_runs_a_program():
    pytest.importorskip("numba")
    command = [sys.executable, "-m", "heapwright", "run", "-a", "kr[MIN_GROWTH=16]", "--stats", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kr[MIN_GROWTH=16]" in done.stderr + done.stdout
