"""Page faults of a program that fills new blocks: a page that is read first takes two, because the kernel lends it a
page of zeros until it is written."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("spec", ["wright", "wright[HARDENED=1]"])
@pytest.mark.parametrize("size", [100, 500, 1000, 3000])
def test_a_new_page_is_written_first(spec, size, preloaded):
    done = preloaded(spec, "page_faults", size, 8)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) <= 125
