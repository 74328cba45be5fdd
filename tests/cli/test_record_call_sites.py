"""`record --call-sites`: the option, and how deep the stacks are."""

from __future__ import annotations

import pytest

from heapwright.traces.importers import open_trace

pytest.importorskip("numba")

PROGRAM = """
#include <stdlib.h>
__attribute__((noinline)) void work(void) { void *volatile block = malloc(1000); free(block); }
__attribute__((noinline)) void between(void) { work(); __asm__ volatile(""); }
int main(void) { between(); return 0; }
"""


@pytest.mark.parametrize(("option", "depth"), [(["--call-sites", "2"], 2), (["--call-sites"], 64)])
def test_who_asked(heapwright, compiled, tmp_path, option, depth):
    done = heapwright("record", *option, "-o", tmp_path / "x.hwt", "--", compiled(PROGRAM))
    assert done.returncode == 0, done.stderr
    trace = open_trace(tmp_path / "x.hwt")
    events = trace.events
    [site] = events.site[events.asks & (events.size == 1000)].tolist()
    functions = [frame.function for frame in trace.stacks.of(site)]
    expected = ["work", "between", "main"]
    assert functions[:3] == (expected if depth == 64 else [*expected[:2], "[more callers]"])
    assert (len(functions) > 3) == (depth == 64)


@pytest.mark.parametrize("depth", ["0", "257", "deep"])
def test_a_depth_that_cannot_be_is_refused(heapwright, tmp_path, depth):
    done = heapwright("record", "--call-sites", depth, "-o", tmp_path / "x.hwt", "--", "true")
    assert done.returncode == 2
    assert "--call-sites" in done.stderr and depth in done.stderr
