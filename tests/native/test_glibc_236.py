"""ptmalloc[VERSION=236] under a program: the addresses and the figures of glibc 2.36's malloc, where that is here."""

from __future__ import annotations

import os
import subprocess

import pytest

from heapwright.native.library import library_of

SPEC = "ptmalloc[VERSION=236]"
DRIVER = "../../allocators/originals/driver"
STEPS = 20_000
FIELDS = "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"

pytestmark = pytest.mark.skipif(os.confstr("CS_GNU_LIBC_VERSION") != "glibc 2.36", reason="the C library is not 2.36")


@pytest.fixture
def both(compiled):
    """What a program prints on our library and on the C library's malloc."""

    def run(program, *arguments, text="", **environment):
        for preload in ({"LD_PRELOAD": str(library_of(SPEC))}, {}):
            environment = {**os.environ, **preload, **environment}
            command = [program, *map(str, arguments)]
            done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=True)
            yield done.stdout

    return run


@pytest.mark.parametrize("seed", [101, 102, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(103, 107))])
def test_every_block_lies_where_glibc_puts_it(both, compiled, tool, seed):
    originals = tool("record_originals")
    calls = list(originals.program(originals.ORIGINALS["ptmalloc"], seed, STEPS))
    ours, theirs = both(compiled(DRIVER, "-DPTMALLOC"), text="\n".join(calls))
    assert ours.count("\n") > STEPS // 3
    assert ours.splitlines() == theirs.splitlines()


@pytest.mark.long
@pytest.mark.parametrize(
    "tunables",
    [
        *("mxfast=0", "mxfast=48", "mxfast=160", "mxfast=161"),
        *("tcache_count=0", "tcache_count=3:mxfast=100", "tcache_max=64:top_pad=4096", "tcache_unsorted_limit=2"),
        *("mmap_threshold=50000", "trim_threshold=20000:top_pad=0", "mmap_max=2"),
    ],
)
def test_the_tunables_mean_the_same(both, compiled, tool, tunables):
    originals = tool("record_originals")
    text = "\n".join(originals.program(originals.ORIGINALS["ptmalloc"], 7, STEPS // 4))
    settings = ":".join(f"glibc.malloc.{each}" for each in tunables.split(":"))
    ours, theirs = both(compiled(DRIVER, "-DPTMALLOC"), text=text, GLIBC_TUNABLES=settings)
    assert ours == theirs


def test_a_tunable_that_matters_changes_the_addresses(both, compiled, tool):
    originals = tool("record_originals")
    text = "\n".join(originals.program(originals.ORIGINALS["ptmalloc"], 7, STEPS // 4))
    plain, _ = both(compiled(DRIVER, "-DPTMALLOC"), text=text)
    others, _ = both(compiled(DRIVER, "-DPTMALLOC"), text=text, GLIBC_TUNABLES="glibc.malloc.mxfast=0")
    assert plain != others


@pytest.mark.parametrize("smallest", [1100, 1])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mallinfo_says_the_same(both, compiled, seed, smallest):
    """All ten numbers, every few requests; with small blocks, what fast bins keep."""
    ours, theirs = both(compiled("mallinfo"), seed, 2000, 60_000, smallest)
    assert ours == theirs
    fast = [[int(line.split()[FIELDS.index(name)]) for line in ours.splitlines()] for name in ("smblks", "fsmblks")]
    assert (max(map(max, fast)) > 0) == (smallest == 1)


def test_mallopt_answers_the_same(both, compiled):
    ours, theirs = both(compiled("mallinfo"), "mallopt")
    assert ours == theirs
    assert "1 100000 0" in ours and "1 64 1" in ours


@pytest.mark.parametrize("pad", [0, 1, 5000, 65_536, 1 << 20, (1 << 64) - 1])
def test_malloc_trim_keeps_its_pad(both, compiled, pad):
    ours, theirs = both(compiled("mallinfo"), "trim", pad)
    assert ours == theirs


def test_malloc_info_shows_the_fast_bins(both, compiled):
    def of_fast_bins(text):
        sizes = text.partition("</sizes>")[0].splitlines()
        return [line for line in text.splitlines() if 'type="fast"' in line or line in sizes]

    ours, theirs = map(of_fast_bins, both(compiled("mallinfo"), "fast"))
    assert ours == theirs
    assert sum('type="fast"' in line for line in ours) == 2 and sum("<size " in line for line in ours) == 2
