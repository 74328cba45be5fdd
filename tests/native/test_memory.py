"""What real processes keep resident, beside the C library's malloc in the same run: memory, never time."""

from __future__ import annotations

import os
import subprocess

import pytest

from heapwright.native.library import library_of

BESIDE = ("ptmalloc", "dlmalloc", "tlsf", "hoard", "slab")
OTHERS = ("linked_list", "buddy", "pages_split")
# MiB, least and most bytes of a block, and every how many-eth stays
HOLES = {"small": (120, 16, 1000, 20), "mixed": (120, 16, 4000, 12), "kilobytes": (120, 100, 20_000, 8)}
OF_ONE_SIZE = (120, 1000, 1000, 20)
OWN = 64  # KiB of an allocator's own words: those of the C library's malloc are resident before the program begins
SLEEPERS = (64, 32, 1000)  # blocks of each thread, of which so many are freed, up to so many bytes


@pytest.fixture(scope="module")
def measured(compiled):
    """The numbers that a C program prints, in KiB, under the C library's malloc (None) or one of ours; once each."""
    known = {}

    def run(spec, name, *arguments):
        key = spec, name, arguments
        if key not in known:
            preload = {"LD_PRELOAD": str(library_of(spec))} if spec else {}
            command = [compiled(name), *map(str, arguments)]
            text = subprocess.run(command, env={**os.environ, **preload}, capture_output=True, check=True, timeout=60)
            known[key] = [int(number) for number in text.stdout.split()]
        return known[key]

    return run


@pytest.mark.long
@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("spec", BESIDE)
def test_after_a_trim_no_more_is_resident_than_in_the_c_library(measured, spec, holes):
    full, trimmed = measured(spec, "holes", *HOLES[holes])
    [_, usual] = measured(None, "holes", *HOLES[holes])
    assert full > 120 << 10 and trimmed <= usual + OWN


@pytest.mark.parametrize("spec", BESIDE)
def test_blocks_of_one_size_that_fit_their_class_badly(measured, spec):
    """Hoard keeps a page for each header, and there are few blocks to a superblock."""
    [_, trimmed] = measured(spec, "holes", *OF_ONE_SIZE)
    [_, usual] = measured(None, "holes", *OF_ONE_SIZE)
    assert trimmed <= (usual * 1.02 if spec == "hoard" else usual + OWN)


@pytest.mark.parametrize("spec", OTHERS)
def test_the_others_give_back_what_they_can(measured, spec):
    full, trimmed = measured(spec, "holes", 20, 2000, 9000, 12)
    assert trimmed < full // 2


@pytest.mark.parametrize("spec", BESIDE)
def test_threads_that_sleep_hold_no_more_than_in_the_c_library(measured, spec):
    [held] = measured(spec, "sleepers", 1000, *SLEEPERS)
    [usual] = measured(None, "sleepers", 1000, *SLEEPERS)
    assert held <= usual + OWN


@pytest.mark.slow
@pytest.mark.parametrize("sleepers", [SLEEPERS, (20, 20, 500), (100, 90, 4000), (10, 8, 200)])
@pytest.mark.parametrize("spec", BESIDE)
def test_three_thousand_threads_that_sleep(measured, spec, sleepers):
    [held] = measured(spec, "sleepers", 3000, *sleepers)
    [usual] = measured(None, "sleepers", 3000, *sleepers)
    assert held <= usual + OWN
