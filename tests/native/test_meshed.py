"""Wright's meshing, compiled: what a C program keeps resident, and that each of its bytes stays what it was."""

from __future__ import annotations

import pytest

MESHED = "wright[MESHED=1]"
SETTLED = 1024  # KiB


def figures(done):
    """What is resident in KiB before a trim, after it, and after all is free; the program checked its bytes."""
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return tuple(map(int, done.stdout.split()))


@pytest.mark.parametrize(
    ("blocks", "share"),
    [((16, 16, 16, 40), 0.5), ((16, 32, 32, 10), 0.5), ((16, 100, 300, 8), 0.5), ((16, 16, 999, 8), 0.6)],
)
def test_a_program_goes_on_in_a_child_and_in_a_thread_with_less_memory(preloaded, blocks, share):
    scattered, trimmed, drained = figures(preloaded(MESHED, "meshed", *blocks))
    assert trimmed < share * scattered and drained < SETTLED
    assert trimmed < 0.8 * figures(preloaded("wright", "meshed", *blocks))[1]


def test_frames_that_several_pages_lead_to_are_shared_memory(preloaded):
    """Without this, the figures above could leave them out."""
    done = preloaded(MESHED, "meshed", 16, 32, 32, 10, options=["-DSHARED_ALONE"])
    assert figures(done)[1] > SETTLED
