"""What wright keeps resident after a drain, without malloc_trim: memory, never time."""

from __future__ import annotations

import os
import subprocess

import pytest

from heapwright.native.library import library_of

pytestmark = pytest.mark.long

SMALL, MIXED = (160, 16, 200), (160, 16, 1000)  # MiB, least and most bytes of a block
SETTLED = 512 + 128  # KiB: the reserve, and a home's lists and partly free slabs


@pytest.fixture(scope="module")
def after(compiled):
    """What is resident and what is live after a scenario of drains.c, in KiB; by default under wright."""

    def run(scenario, *arguments, preload=None):
        command = [compiled("drains"), scenario, *map(str, arguments)]
        environment = {**os.environ, "LD_PRELOAD": preload or str(library_of("wright"))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return tuple(map(int, done.stdout.split()))

    return run


@pytest.mark.parametrize("sizes", [SMALL, MIXED])
@pytest.mark.parametrize("scenario", ["alone", "handed", "forked", "swings"])
def test_a_drained_heap_is_little_more_than_what_is_live(after, scenario, sizes):
    resident, live = after(scenario, *sizes)
    assert live > 10_000 and resident <= 1.2 * live


def test_threads_that_went_idle_hold_little_more_than_what_is_live(after):
    resident, live = after("idle", *SMALL)
    assert resident <= 1.2 * live + 8 * SETTLED


def test_the_c_library_holds_all_of_it(after):
    """The scenario is one in which keeping is easy: without this, the tests above would say nothing."""
    resident, live = after("alone", *MIXED, preload="libc.so.6")
    assert resident > 5 * live


@pytest.mark.parametrize("sizes", [(120, 16, 1000, 20), (120, 16, 4000, 12)])
def test_a_trim_leaves_less_than_the_c_librarys(compiled, sizes):
    """Most blocks are free, and there are holes between the live ones."""
    found = []
    for preload in (str(library_of("wright")), "libc.so.6"):
        command = [compiled("holes"), *map(str, sizes)]
        done = subprocess.run(command, env={**os.environ, "LD_PRELOAD": preload}, capture_output=True, check=True)
        found.append(int(done.stdout.split()[1]))
    assert found[0] < found[1]
