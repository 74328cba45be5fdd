"""Wright's meshing, compiled: what a C program keeps resident, and that each of its bytes stays what it was."""

from __future__ import annotations

import subprocess

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


# --- beside other threads


@pytest.mark.long
@pytest.mark.parametrize("kind", ["write", "fork", "read", "sleep"])
def test_no_write_of_four_threads_is_lost_while_another_one_trims(preloaded, kind):
    assert figures(preloaded(MESHED, "meshed_threads", kind))[0] > 0


@pytest.mark.long
@pytest.mark.parametrize("kind", ["blocked", "used", "many"])
def test_threads_that_cannot_be_stopped_are_left_alone(preloaded, kind):
    """Those that block the signal, those of a program that uses it, and a crowd."""
    assert figures(preloaded(MESHED, "meshed_threads", kind))[0] == 0


@pytest.mark.long
def test_without_proc_the_threads_are_left_alone(preloaded):
    """unshare gives the program an empty /proc."""
    under = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*under, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system does not let a test have a mount of its own")
    done = preloaded(MESHED, "meshed_threads", "write", under=under)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("at", ["vfork", "clone"])
def test_a_child_on_its_parents_memory_does_not_move_pages(preloaded, at):
    """Threads of the parent write there, and /proc/self/task of the child does not list them."""
    done = preloaded(MESHED, "meshed_guests", at)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
